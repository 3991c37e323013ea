"""Runs killed after a checkpoint go on and end as if nothing had been, on another device too.

Each halts some way after its checkpoint, is killed there by SIGKILL with the command that makes it,
and is continued by the same command. With deterministic algorithms metrics, weights, optimisers and
streams are those of a run that was left alone, bit for bit. Without them they differ no more than
two runs that were left alone differ from each other, but for a factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from common.config.run import RunConfig
from common.run.folder import RunFolder
from grue.experiments.new_model.tokenizer import byte_pairs
from tests.conftest import TINY_DIGITS, without_seconds
from tests.gpu.commands import Command, configurations, runs_of, write_plan
from tests.gpu.findings import Findings, largest
from tests.gpu.pausing import has_halted
from tests.grue.conftest import TEXTS, causal_model, nested
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

pytestmark = pytest.mark.gpu

_CONTROLLED, _FINETUNE = "custom:tests.gpu.pausing:CONTROLLED", "custom:tests.gpu.pausing:FINETUNE"
_FACTOR = 10
"""Times the difference of two runs that were left alone."""
_LEAST_OF_WEIGHTS, _LEAST_OF_METRICS = 1e-4, 1e-3
"""Relative differences that float32 may have in any case, since training magnifies rounding."""
_BETWEEN_DEVICES = 0.01
"""Relative difference of losses on the CPU and on a GPU after some steps."""
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
_SAMPLED = "ppo"
"""Where a token drawn otherwise, as rounding may bring about, changes all that follows."""

Runs = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with dropout, which takes its part of the streams."""
    return _save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def still_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without dropout, which other devices draw otherwise."""
    return _save(tmp_path_factory.mktemp("still"), **dict.fromkeys(_DROPOUTS, 0.0))


def _save(folder: Path, **changes: float) -> Path:
    tokenizer = byte_pairs(iter(TEXTS * 3), 300, 64)
    model = causal_model(len(tokenizer))
    model.config.update(changes)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _digits(**changes: Any) -> dict[str, Any]:
    return {"experiment": _CONTROLLED, **TINY_DIGITS, "epochs": 10, "lr": 0.01, **changes}


def _text(keys: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**nested(keys), **changes, "experiment": _FINETUNE}


def _runs(model: Path, *, full: bool, **changes: Any) -> Runs:
    """A run of each kind; the text runs draw on the device."""
    sizes = {"num_train_samples": 500 if full else 60}
    return {
        "mlp": _digits(**sizes, opt_method="expected_reinforce", **changes),
        "resnet": _digits(**sizes, model_type="resnet18", lr=0.001, **changes),
        "sft": _text(finetuning(model, no_eval_on_train_set=True), **changes),
        _SAMPLED: _text(reinforcement(model, train_evaluation__n_iters=8), **changes),
    }


def _deterministic(model: Path, *, full: bool) -> Runs:
    # Before every configuration knows the key, CPUs alone can be asked for equal bits.
    key = {"deterministic": True} if "deterministic" in RunConfig.model_fields else {}
    runs = _runs(model, full=full, random_seed=6, **key)
    runs["mlp"]["opt_method"] = "reinforce"  # which draws on the device
    return {f"{name}, deterministic": run for name, run in runs.items()}


def _killed_and_continued(
    folder: Path, runs: Runs, *, first: tuple[str, ...], then: tuple[str, ...]
) -> dict[str, RunFolder]:
    """The runs, killed together when all have halted, and continued by the command ``then``."""
    _plan(folder, runs, num_parallel=len(runs))
    with Command(folder, *first) as command:
        command.wait_until(lambda: _num_halted(command) == len(runs))
        command.kill()
    with Command(folder, *then) as command:
        assert command.wait() == 0, command.printed
        return command.runs()


def _plan(folder: Path, runs: Runs, *, num_parallel: int) -> Path:
    document = {"multiprocess": True, "num_parallel": num_parallel}
    return write_plan(folder, {"configurations": configurations(runs), **document})


def _num_halted(command: Command) -> int:
    return sum(map(has_halted, command.runs().values()))


def _left_alone(folder: Path, runs: Runs, *, num_parallel: int) -> Path:
    """Writes a plan of runs that do not halt, with as many threads for each as with the others."""
    kinds = {_CONTROLLED: "sft_vs_rft", _FINETUNE: "grue_finetune"}
    plain = {name: {**run, "experiment": kinds[run["experiment"]]} for name, run in runs.items()}
    return _plan(folder, plain, num_parallel=num_parallel)


def test_killed_and_continued(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path, model: Path
) -> None:
    plain = _runs(model, full=full)
    if not full:
        plain = {"mlp": plain["mlp"]}
    runs = _deterministic(model, full=full) | plain
    place = _place(device)
    whole = _left_alone(tmp_path / "whole", runs, num_parallel=len(runs))
    again = _left_alone(tmp_path / "again", plain, num_parallel=len(runs))
    with Command(whole, *place) as one, Command(again, *place) as two:
        killed = _killed_and_continued(tmp_path / "killed", runs, first=place, then=place)
        assert [one.wait(), two.wait()] == [0, 0], one.printed + two.printed
    for name, run in killed.items():
        alone = runs_of(whole)[name]
        _went_on(findings, name, run, alone)
        if name in plain:
            _as_near_as_another(findings, name, run, alone, runs_of(again)[name])
        else:
            _equal(findings, name, run, alone)


def _went_on(findings: Findings, name: str, run: RunFolder, alone: RunFolder) -> None:
    findings.equal(f"{name}: attempts", run.read_status()["attempt"], 2)
    findings.equal(f"{name}: epochs of the metrics", _epochs(run), _epochs(alone))


def _epochs(run: RunFolder) -> list[float]:
    return [row["epoch"] for row in without_seconds(run)]


def _equal(findings: Findings, name: str, run: RunFolder, alone: RunFolder) -> None:
    rows = zip(without_seconds(run), without_seconds(alone), strict=False)
    differing = {key for ours, theirs in rows for key in ours | theirs
                 if ours.get(key) != theirs.get(key)}  # fmt: skip
    findings.equal(f"{name}: metrics that differ", sorted(differing), [])
    ours, theirs = _tensors(run), _tensors(alone)
    same = [key for key in ours if key in theirs and torch.equal(ours[key], theirs[key])]
    differing = (ours.keys() | theirs.keys()) - set(same)
    findings.equal(f"{name}: of {len(same)} weights and states those that differ",
                   sorted(differing), [])  # fmt: skip


def _as_near_as_another(
    findings: Findings, name: str, run: RunFolder, alone: RunFolder, another: RunFolder
) -> None:
    for what, difference, least in (
        ("metrics", _difference_of_metrics, _LEAST_OF_METRICS),
        ("weights", _difference_of_weights, _LEAST_OF_WEIGHTS),
    ):
        usual = difference(another, alone)
        findings.number(f"{name}: relative difference of {what} of two equal runs", usual, "")
        text = f"{name}: relative difference of {what} from a run that was left alone"
        found = difference(run, alone)
        if name == _SAMPLED:
            findings.number(text, found, "")
        else:
            findings.at_most(text, found, max(_FACTOR * usual, least))


def _tensors(run: RunFolder) -> dict[str, Tensor]:
    """All that a run has kept, by name: weights, optimiser, streams."""
    last = run.checkpoints / "last.pt"
    state = torch.load(last, map_location="cpu", weights_only=True) if last.exists() else {}
    found = dict(_leaves(state))
    for path in (run.path / "model").glob("*.safetensors"):
        found |= {f"model.{name}": tensor for name, tensor in load_file(path).items()}
    return found


def _leaves(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, dict | list | tuple):
        parts = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in parts:
            yield from _leaves(value, f"{name}.{key}" if name else str(key))


def _difference_of_weights(run: RunFolder, other: RunFolder) -> float:
    """Norm of the difference, in the norm of the other's weights."""
    ours, theirs = _weights(run), _weights(other)
    return float((ours - theirs).norm() / theirs.norm())


def _weights(run: RunFolder) -> Tensor:
    """[P] in float64."""
    found = _tensors(run)
    chosen = [found[name] for name in sorted(found) if name.startswith(("model.", "weights."))]
    return torch.cat([tensor.double().flatten() for tensor in chosen])


def _difference_of_metrics(run: RunFolder, other: RunFolder) -> float:
    """The largest relative difference; accuracies move by steps and are left out."""
    apart = [0.0]
    for ours, theirs in zip(without_seconds(run), without_seconds(other), strict=False):
        for key, value in theirs.items():
            if isinstance(value, float) and "accuracy" not in key:
                apart.append(abs(ours.get(key, math.inf) - value) / max(abs(value), 1e-3))
    return largest(apart)


def test_continued_on_another_device(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path, still_model: Path
) -> None:
    runs = _runs(still_model, full=full)
    for name in ("resnet",) if full else ("resnet", "sft", _SAMPLED):
        del runs[name]
    if not full:
        findings.left_out("from a GPU to the CPU", "needs a GPU")
    gpu, cpu = _place(device), _place(torch.device("cpu"))
    ways = {"CPU to GPU": (cpu, gpu), "GPU to CPU": (gpu, cpu)}
    whole = _left_alone(tmp_path / "whole", runs, num_parallel=len(runs))
    with Command(whole, *cpu) as command:
        for number, (way, (first, then)) in enumerate(ways.items()):
            if number > 0 and not full:
                continue
            moved = _killed_and_continued(tmp_path / str(number), runs, first=first, then=then)
            kind = device.type if then == gpu else "cpu"
            command.wait()
            for name, run in moved.items():
                _moved(findings, f"{name}, {way}", run, runs_of(whole)[name], kind)
        assert command.wait() == 0, command.printed


def _moved(findings: Findings, name: str, run: RunFolder, alone: RunFolder, kind: str) -> None:
    _went_on(findings, name, run, alone)
    found = str(run.read_status()["device"])
    findings.equal(f"{name}: device in the end", found.partition(":")[0], kind)
    rows, expected = without_seconds(run), without_seconds(alone)
    wrong = {key for row in rows for key, value in row.items()
             if isinstance(value, float) and not math.isfinite(value)}  # fmt: skip
    findings.equal(f"{name}: metrics that are not finite", sorted(wrong), [])
    if name.startswith(_SAMPLED):
        return
    apart = [abs(ours[key] - theirs[key]) / abs(theirs[key])
             for ours, theirs in zip(rows, expected, strict=False)
             for key in ("train loss", "loss") if key in ours and key in theirs]  # fmt: skip
    findings.at_most(f"{name}: relative difference of {len(apart)} losses", largest(apart),
                     _BETWEEN_DEVICES)  # fmt: skip


def _place(device: torch.device) -> tuple[str, ...]:
    """What the command line says of where runs are made."""
    return ("--gpu_ids", "0") if device.type == "cuda" else ("--gpu_ids",)
