"""Extraction: equal outputs and rewards for batches of any size, and on the CPU.

A token that lies between two may fall to the other where sums have another order, so equal outputs
are counted; deviations of rewards are compared where all outputs of an input are equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from common.config.resolve import resolve
from common.experiment import Context
from common.run.folder import RunFolder
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.run import Extraction
from grue.policies.generation_config import GenerationConfig
from tests.gpu import text
from tests.gpu.findings import Findings
from tests.grue.conftest import nested
from tests.grue.test_extract import extraction

pytestmark = pytest.mark.gpu

_EQUAL_OUTPUTS = 0.95
_SAMPLES = 4
_WAYS: dict[str, dict[str, Any]] = {
    "sampled": {"do_sample": True, "top_k": 0, "temperature": 2.0},
    "top-p": {"do_sample": True, "top_k": 0, "top_p": 0.9, "temperature": 2.0},
}


def _extracted(
    folder: Path, model: Path, kind: str, device: torch.device, batch_size: int,
    generation: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Samples and reward statistics of a run."""
    folder.mkdir()
    keys = nested(extraction(
        model, alg__model_type="causal" if kind == "gpt2" else "seq2seq",
        datapool__num_train_samples=40, alg__generation_kwargs={"max_new_tokens": 12, **generation},
        evaluation__eval_batch_size=batch_size,
        evaluation__num_samples_per_input=_SAMPLES,
    ))  # fmt: skip
    keys.pop("experiment")
    config, problems = resolve(ExtractConfig, keys)
    assert config is not None and not problems, [str(problem) for problem in problems]
    run_folder = RunFolder(folder)
    score = Extraction(config, Context(run_folder, seed=5, gpu_ids=text.gpu_ids(device))).run()
    assert json.loads(run_folder.summary.read_text())["score"] == score
    samples, stats = (pd.read_parquet(run_folder.table(n)) for n in ("samples", "reward_stats"))
    return samples, stats


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_outputs(
    kind: str, way: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    model = text.save(tmp_path / "model", kind, full=full)
    makings = {"batches of 40": (device, 40), "batches of 7": (device, 7),
               "the CPU": (torch.device("cpu"), 13)}  # fmt: skip
    found = {
        name: _extracted(tmp_path / name, model, kind, where, size, _WAYS[way])
        for name, (where, size) in makings.items()
    }
    samples, stats = found.pop("batches of 40")
    lengths = samples["num_tokens"]
    findings.at_least(f"{kind}, {way}: lengths of outputs, number of kinds", lengths.nunique(), 2)
    findings.at_most(f"{kind}, {way}: longest output", int(lengths.max()), 12)
    for name, (others, other_stats) in found.items():
        assert list(samples["input_id"]) == list(others["input_id"])
        equal = samples["output"].to_numpy() == others["output"].to_numpy()
        findings.at_least(f"{kind}, {way}: share of outputs equal to those of {name}",
                          float(equal.mean()), _EQUAL_OUTPUTS)  # fmt: skip
        whole = equal.reshape(len(stats), -1).all(1)
        for column in ("mean", "std"):
            values, of_others = (np.nan_to_num(table[column].to_numpy()[whole])
                                 for table in (stats, other_stats))  # fmt: skip
            findings.at_most(f"{kind}, {way}: {column} of rewards, deviation from {name}",
                             float(np.abs(values - of_others).max()), 1e-12)  # fmt: skip


@pytest.mark.parametrize("kind", text.KINDS)
def test_most_probable_outputs(
    kind: str, device: torch.device, full: bool, findings: Findings
) -> None:
    settings = GenerationConfig(max_new_tokens=12)
    found = []
    for where, size in ((device, 20), (device, 3), (torch.device("cpu"), 20)):
        policy = text.policy_of(kind, where, full=full)
        prompts = text.prompts_of(policy, 20)
        rows = [range(start, min(start + size, 20)) for start in range(0, 20, size)]
        batches = [policy.outputs(prompts[of.start : of.stop], settings, inputs=of, seed=0)
                   for of in rows]  # fmt: skip
        found.append([output for batch in batches for output in batch])
    for name, others in zip(("batches of 3", "the CPU"), found[1:], strict=True):
        findings.at_least(f"{kind}, most probable: share of outputs equal to those of {name}",
                          text.equal_share(found[0], others), _EQUAL_OUTPUTS)  # fmt: skip
