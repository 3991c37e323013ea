"""Supervised finetuning, a reward model, a classifier and PPO as runs of a plan, in a worker.

A worker sees the GPU of its slot alone. That the Trainer used it, is told by the memory that the
run's process took there: no less than weights, gradients and two moments.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from common.run.folder import RunFolder, read_json_lines
from tests.conftest import Workplace
from tests.gpu import text
from tests.gpu.findings import Findings
from tests.gpu.measured import FILE
from tests.grue import test_classifier, test_finetune, test_reward_model
from tests.grue.conftest import nested
from tests.grue.judging import save_classifier
from tests.grue.test_reinforcement import reinforcement

pytestmark = pytest.mark.gpu

_COPIES = 4
"""Of the weights: themselves, gradients, two moments."""
_NEAR = 0.02
"""Relative deviation of the losses before any step from those of the CPU."""


def _configurations(folder: Path, *, full: bool) -> dict[str, dict[str, Any]]:
    """Runs by name."""
    causal = text.save(folder / "gpt2", "gpt2", full=full)
    seq2seq = text.save(folder / "t5", "t5", full=full)
    base = save_classifier(folder / "bert")
    data = test_reward_model.write_data(folder / "data", 4, train=200)
    steps = {"alg__training_args__num_train_epochs": 2, "no_eval_on_train_set": True}
    return {
        "SFT": _finetuning(causal, "causal", steps),
        **{f"SFT in {kind}": _finetuning(causal, "causal",
                                         steps | {f"alg__training_args__{kind}": True})
           for kind in (("bf16", "fp16", "tf32") if full else ())},
        "SFT of T5": _finetuning(seq2seq, "seq2seq", steps),
        "PPO": _measured("FINETUNE", nested(reinforcement(
            causal, "ppo", train_evaluation__n_iters=2, train_evaluation__eval_every=1,
            alg__args__learning_rate=1e-4))),
        "reward model": _measured("REWARD_MODEL", test_reward_model.configuration(
            causal, data, "best_of_n", alg={"training_args": {
                "learning_rate": 0.003, "num_train_epochs": 2, "logging_steps": 5}})),
        "classifier": _measured("CLASSIFIER", test_classifier.configuration(base, training_args={
            "learning_rate": 0.01, "num_train_epochs": 4, "logging_steps": 8})),
    }  # fmt: skip


def _finetuning(model: Path, kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    keys = test_finetune.finetuning(model, alg__model_type=kind, **changes)
    return _measured("FINETUNE", nested(keys))


def _measured(name: str, keys: dict[str, Any]) -> dict[str, Any]:
    keys.pop("experiment", None)
    return {"experiment": f"custom:tests.gpu.measured:{name}", "base_config": keys}


def _made(workplace: Workplace, plan: str, runs: dict[str, dict[str, Any]], **keys: Any
          ) -> dict[str, RunFolder]:  # fmt: skip
    """The folders of a plan's runs, by name."""
    for number, run in enumerate(runs.values()):
        run["base_config"]["experiment_name"] = f"run{number}"
    path = workplace.write_plan(plan, configurations=list(runs.values()), **keys)
    outcome = workplace.run_plan(path)
    assert outcome.status == 0, outcome.out + outcome.err
    return dict(zip(runs, workplace.folders(plan), strict=True))


def test_runs_in_a_worker(
    device: torch.device, full: bool, findings: Findings, workplace: Workplace
) -> None:
    runs = _configurations(workplace.path, full=full)
    on_gpu = device.type == "cuda"
    pool = {"gpu_ids_pool": list(text.gpu_ids(device))} if on_gpu else {}
    folders = _made(workplace, "here", runs, multiprocess=True, **pool)
    for name, folder in folders.items():
        rows = read_json_lines(folder.metrics)
        wrong = {key for row in rows for key, value in row.items() if not _is_finite(value)}
        findings.equal(f"{name}: metrics that are not finite", sorted(wrong), [])
        losses = [row["loss"] for row in rows if "loss" in row]
        if losses:
            findings.at_most(f"{name}: last training loss", losses[-1], 0.95 * losses[0])
        device_told = str(folder.read_status()["device"])
        findings.equal(f"{name}: device of the run", device_told.partition(":")[0], device.type)
        if on_gpu:
            peak = json.loads((folder.path / FILE).read_text())["peak"]
            findings.at_least(f"{name}: bytes of the GPU that its process took", peak,
                              _COPIES * _bytes(folder))  # fmt: skip
    if on_gpu:
        _as_on_cpu(findings, folders, _made(workplace, "on_cpu", runs, multiprocess=True))


def _as_on_cpu(
    findings: Findings, here: dict[str, RunFolder], on_cpu: dict[str, RunFolder]
) -> None:
    """The first loss of each: in evaluation, or in training where that comes first."""
    for name, folder in here.items():
        first, expected = (_first_loss(of) for of in (folder, on_cpu[name]))
        if expected is not None and first is not None:
            findings.close(f"{name}: first loss, as on the CPU", first, expected,
                           _NEAR * abs(expected))  # fmt: skip


def _first_loss(folder: RunFolder) -> float | None:
    names = ("val/loss", "loss", "ppo/value_loss")
    found = (row[name] for row in read_json_lines(folder.metrics) for name in names if name in row)
    return next(found, None)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _bytes(folder: RunFolder) -> int:
    """What the weights of the run's model take in float32."""
    with safe_open(folder.path / "model" / "model.safetensors", "pt") as file:
        return sum(4 * math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
