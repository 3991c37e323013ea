"""Extraction runs: tables that agree with the samples, and nothing lost on the way."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.run import status
from common.run.folder import RunFolder
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS, BROKEN, OVERLAP, SIGNALLING

K = 4


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def extraction(model: Path, **changes: Any) -> dict[str, Any]:
    """A configuration; keys of ``changes`` are dotted paths with ``__`` for the dot."""
    base: dict[str, Any] = {
        "experiment": "grue_extract",
        "experiment_name": "samples",
        "random_seed": 5,
        "tokenizer.model_name": str(model),
        "datapool.id": ANIMALS,
        "datapool.num_train_samples": 10,
        "datapool.train_samples_rnd_seed": 7,
        "alg.model_type": "causal",
        "alg.model_name": str(model),
        "alg.generation_kwargs": {"do_sample": True, "top_k": 0, "max_new_tokens": 6},
        "evaluation.eval_batch_size": 4,
        "evaluation.num_samples_per_input": K,
        "evaluation.metrics": [{"id": OVERLAP}],
    }
    return base | {key.replace("__", "."): value for key, value in changes.items()}


def samples_of(folder: RunFolder) -> pd.DataFrame:
    return pd.read_parquet(folder.table("samples"))


def test_tables_agree_with_the_samples(workplace: Workplace, model: Path) -> None:
    assert workplace.run_plan(write(workplace, extraction(model))).status == 0
    (folder,) = workplace.folders()
    samples, stats = samples_of(folder), pd.read_parquet(folder.table("reward_stats"))
    chosen = np.random.RandomState(7).permutation(40)[:10]
    assert list(samples["index"]) == list(np.repeat(chosen, K))
    assert list(samples["input_id"]) == [f"train_{i}" for i in np.repeat(chosen, K)]
    assert list(samples["sample_id"]) == list(range(K)) * 10
    rewards = samples["lexical/overlap"].to_numpy().reshape(10, K)
    assert len(np.unique(rewards)) > 3
    assert list(stats["input_id"]) == [f"train_{i}" for i in chosen]
    np.testing.assert_allclose(stats["mean"], rewards.mean(1))
    np.testing.assert_allclose(stats["std"], rewards.std(1, ddof=1))
    assert json.loads(folder.summary.read_text())["score"] == pytest.approx(rewards.mean())
    said = folder.log.read_text()
    assert "attempt 1 on cpu, random seed " in said
    assert "samples of each of 10 inputs" in said and f": mean {rewards.mean():.4f}" in said
    assert not (folder.path / "samples").exists()


def test_the_parts_are_kept_until_the_end_is_recorded(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    end = status.end

    def noting(folder: RunFolder, state: str, **values: Any) -> None:
        end(folder, state, **values)
        found.append((state, (folder.path / "samples").exists()))

    monkeypatch.setattr("common.run.status.end", noting)
    assert workplace.run_plan(write(workplace, extraction(model))).status == 0
    assert found == [("done", True)]


def test_results_do_not_depend_on_the_batch_size(workplace: Workplace, model: Path) -> None:
    sizes = [extraction(model, evaluation__eval_batch_size=size) for size in (1, 4, 10)]
    assert workplace.run_plan(write(workplace, *sizes)).status == 0
    outputs = [samples_of(folder)["output"].tolist() for folder in workplace.folders()]
    assert len(outputs) == 3
    for other in outputs[1:]:
        equal = sum(a == b for a, b in zip(outputs[0], other, strict=True))
        assert equal >= 0.999 * len(other)


def test_a_killed_run_goes_on_where_it_was(workplace: Workplace, model: Path) -> None:
    metrics = {
        name: [{"id": SIGNALLING, "args": {"marker": str(workplace.path / name), "calls": 2}}]
        for name in ("first", "second")
    }
    (workplace.path / "second").touch()  # this one is never killed
    runs = [extraction(model, evaluation__metrics=metric) for metric in metrics.values()]
    plan = write(workplace, *runs, multiprocess=True, num_parallel=1)
    assert workplace.run_plan(plan).status == 0
    killed, whole = sorted(workplace.folders(), key=lambda f: -f.read_status()["attempt"])
    assert killed.read_status()["attempt"] == 2
    pd.testing.assert_frame_equal(samples_of(killed), samples_of(whole))


def test_a_metric_that_is_not_a_number_keeps_the_samples(workplace: Workplace, model: Path) -> None:
    marker = workplace.path / "mended"
    metrics = [{"id": BROKEN, "args": {"marker": str(marker)}}]
    plan = write(workplace, extraction(model, evaluation__metrics=metrics))
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    (folder,) = workplace.folders()
    assert "'broken' is nan for input train_" in folder.read_status()["reason"]
    kept = pd.concat(map(pd.read_parquet, sorted((folder.path / "samples").iterdir())))
    marker.touch()
    assert workplace.run_plan(plan, "--retry_failed").status == 0
    outputs = samples_of(folder).set_index(["input_id", "sample_id"])["output"]
    for _, row in kept.iterrows():
        assert outputs[row["input_id"], row["sample_id"]] == row["output"]


def test_the_published_dictionary_holds_tensors_and_lists(
    workplace: Workplace, model: Path
) -> None:
    run = extraction(model, published_format=True, output_file_suffix="mine")
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    (path,) = folder.path.glob("train_reward_stats_*_model_num_train_10_rnd_7_mine_*.pt")
    found = torch.load(path, weights_only=True)
    assert set(found) == {"all_generated_texts", "all_metric_values", "used_train_indices",
                          "num_train_samples", "config"}  # fmt: skip
    samples = samples_of(folder)
    values = found["all_metric_values"]["lexical/overlap"]
    assert values.dtype == torch.float64 and values.shape == (10, K)
    assert values.flatten().tolist() == samples["lexical/overlap"].tolist()
    assert [text for row in found["all_generated_texts"] for text in row] == samples[
        "output"
    ].tolist()
    assert found["used_train_indices"].tolist() == samples["index"].tolist()[::K]
    assert found["num_train_samples"] == 10


def test_the_librarys_sampler_repeats_too(workplace: Workplace, model: Path) -> None:
    run = extraction(model, evaluation__sampler="generate")
    plan = write(workplace, run)
    assert workplace.run_plan(plan).status == 0
    first = samples_of(workplace.folders()[0])
    assert workplace.run_plan(plan, "--fresh").status == 0
    pd.testing.assert_frame_equal(samples_of(workplace.folders()[0]), first)


def test_a_prompt_longer_than_the_model_is_cut(workplace: Workplace, model: Path) -> None:
    run = extraction(model, datapool__args={"long_prompt": True}, datapool__num_train_samples=40)
    assert workplace.run_plan(write(workplace, run)).status == 0
    samples = samples_of(workplace.folders()[0])
    assert samples["prompt"].str.len().max() > 1000  # the prompt that rewards see is whole
    assert len(samples) == 40 * K


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__generation_kwargs": {"max_new_tokens": 5}}, "do_sample"),
        ({"alg__generation_kwargs": {"do_sample": True}}, "max_new_tokens"),
        (
            {"alg__generation_kwargs": {"do_sample": True, "max_new_tokens": 3, "min_length": 5}},
            r"min_length' = 5: is more than the longest output \(3\)",
        ),
        ({"alg__model_type": "seq2seq"}, "is a causal model; set it to 'causal'"),
        ({"alg__model_name": "_"}, "--set alg.model_name=@sft.model"),
        ({"evaluation__metrics": []}, "evaluation.metrics"),
        ({"evaluation__metrics": [{"id": "rogue"}]}, "evaluation.metrics.0..id' = 'rogue'"),
        ({"evaluation__group_sizes": [1]}, "group_sizes"),
        ({"evaluation__sample_cache": "cache", "evaluation__sampler": "generate"},
         "'evaluation.sample_cache' = 'cache': keeps outputs input by input"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_anything_is_written(
    workplace: Workplace, model: Path, changes: dict[str, Any], message: str
) -> None:
    before = workplace.files()
    outcome = workplace.run_plan(write(workplace, extraction(model, **changes)))
    assert outcome.status == 2
    assert re.search(message, outcome.err), outcome.err
    assert workplace.files() == before


def test_a_metric_without_references_names_the_input(workplace: Workplace, model: Path) -> None:
    run = extraction(model, datapool__args={"references": False})
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    assert "'overlap' needs references, and the input '" in folder.read_status()["reason"]


def test_damaged_and_strange_samples_are_named_and_drawn_again(
    workplace: Workplace, model: Path
) -> None:
    runs = []
    for name in ("stopped", "whole"):
        args = {"marker": str(workplace.path / name), "signal": "SIGINT", "calls": 3}
        runs.append(
            extraction(model, experiment_name=name, evaluation__eval_batch_size=2,
                       evaluation__metrics=[{"id": SIGNALLING, "args": args}])
        )  # fmt: skip
    (workplace.path / "whole").touch()  # this one is never stopped
    plan = write(workplace, *runs)
    assert workplace.run_plan(plan).status == 130
    (stopped,) = workplace.folders()
    parts = [stopped.path / f"samples/{number:06d}.parquet" for number in range(5)]
    stray = parts[0].with_name("000099.parquet")
    shutil.copy(parts[2], stray)
    parts[0].write_bytes(parts[0].read_bytes()[:500])
    shutil.copy(parts[2], parts[1])  # samples of other inputs
    pd.read_parquet(parts[3]).drop(columns="output").to_parquet(parts[3])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    for path in (parts[0], parts[1], parts[3], stray):
        assert path.name in outcome.err and path.name in stopped.log.read_text()
    assert parts[2].name not in outcome.err
    stopped, whole = workplace.folders()
    pd.testing.assert_frame_equal(samples_of(stopped), samples_of(whole))
