"""The plans of section 4.2 of arXiv 2310.20703 at published size, for as many epochs as fit."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.run.folder import RunFolder, read_json_lines
from sft_vs_rft.config import CHANGED
from tests.gpu.commands import Command, write_plan
from tests.gpu.findings import Findings

_PLANS = Path(__file__).resolve().parents[2] / "experiment_plans/sft_vs_rft"
_REWARD = f"reward {CHANGED}"
_VARIANTS = ("adam", "sgd", "high_init_reward")
_SFT, _RFT = "supervised", "expected_reinforce"
_PROBED = 10
"""Epochs of finetuning from which the seconds of one are told."""
_SMALL = {"num_train_samples": 60, "num_test_samples": 40, "batch_size": 30}
_FEWEST, _SMALL_EPOCHS = 3, 3


@dataclass(frozen=True)
class Study:
    """A plan, and how it is made here."""

    name: str
    """``name.json`` among the plans of the controlled experiments."""
    folder: str
    """The data that it needs, in the folder ``DATA_DIR``."""
    seconds: float
    """For its epochs of pretraining and finetuning together, on a GPU."""
    num_parallel: int
    vectorize: bool = False
    """Whether runs that are alike are trained as one."""
    own_keys: dict[str, str] = field(default_factory=dict)
    """Keys of every run, with ``{data}`` for the folder of data."""


def make(study: Study, findings: Findings, tmp_path: Path, *, full: bool) -> None:
    """Makes the plan, and notes its rewards, its speed and its figures."""
    document = _document(study, full=full)
    epochs = _SMALL_EPOCHS
    if full:
        epochs = _epochs_that_fit(study, document, tmp_path / "probe")
    runs = _made(study, _shortened(document, epochs), tmp_path / "study", full=full)
    ends = [run.read_status()["status"] for run in runs.values()]
    findings.equal("ends of the runs", ends, ["done"] * (1 + 2 * len(_VARIANTS)))
    published = max(_epochs(document).values())
    findings.number(f"epochs of finetuning, of {published:,} published", epochs, "epochs")
    findings.number("seconds per epoch, all runs together", _seconds(study, document, runs), "s")
    for name in (f"adam_{_SFT}", f"adam_{_RFT}"):
        findings.number(f"{name}: seconds per epoch", _median_seconds(runs[name]), "s")
    for variant in _VARIANTS:
        _rewards(findings, variant, runs)
    if full:
        sft, rft = (_last(runs[f"adam_{method}"]) for method in (_SFT, _RFT))
        findings.at_least("adam: SFT's reward on changed inputs, RFT's or more", sft, rft)
    figures = sorted((tmp_path / "study").glob("outputs/*/plan/figures/*.png"))
    findings.equal("figures", [path.stem for path in figures], sorted(document["figures"]))
    for path in figures:
        findings.picture(path)


def _document(study: Study, *, full: bool) -> dict[str, Any]:
    """The published plan with one seed, and its data where they are here."""
    data = Path(os.environ.get("DATA_DIR") or "data").resolve()
    if not (data / study.folder).exists():
        pytest.skip(f"DATA_DIR names no folder that holds {study.folder}")
    document: dict[str, Any] = json.loads((_PLANS / f"{study.name}.json").read_text())
    own = {key: value.format(data=data) for key, value in study.own_keys.items()}
    for configuration in document["configurations"]:
        configuration["base_config"] |= own | ({} if full else _SMALL)
    return {**document, "seeds": [0], "vectorize": study.vectorize}


def _epochs(document: dict[str, Any]) -> dict[str, int]:
    return {c["id"]: c["base_config"]["epochs"] for c in document["configurations"]}


def _shortened(document: dict[str, Any], epochs: int) -> dict[str, Any]:
    """With so many epochs of finetuning at most, and pretraining shortened as much."""
    share = epochs / max(_epochs(document).values())
    configurations = [
        {**c, "base_config": {**c["base_config"], "epochs": math.ceil(share * number)}}
        for c, number in zip(document["configurations"], _epochs(document).values(), strict=True)
    ]
    return {**document, "configurations": configurations}


def _epochs_that_fit(study: Study, document: dict[str, Any], folder: Path) -> int:
    """Epochs of finetuning, at most those published, by the time that the first few take."""
    runs = _made(study, {**_shortened(document, _PROBED), "figures": []}, folder, full=True)
    within = int(study.seconds / _seconds(study, document, runs))
    return max(_FEWEST, min(within, max(_epochs(document).values())))


def _seconds(study: Study, document: dict[str, Any], runs: Mapping[str, RunFolder]) -> float:
    """Of an epoch of all finetuning runs, and of their part of pretraining."""
    epochs = _epochs(document)
    seconds = {name: _median_seconds(run) for name, run in runs.items()}
    pretraining = seconds.pop("pretrain") * epochs["pretrain"] / max(epochs.values())
    rounds = 1 if study.vectorize else math.ceil(len(seconds) / study.num_parallel)
    return rounds * max(seconds.values()) + pretraining


def _made(study: Study, document: dict[str, Any], folder: Path, *, full: bool
          ) -> dict[str, RunFolder]:  # fmt: skip
    write_plan(folder, document)
    place = ["--gpu_ids", "0"] if full else []
    slots = study.num_parallel if full else 2
    with Command(folder, "--num_parallel", str(slots), *place) as command:
        assert command.wait(longest=600) == 0, command.printed
        return command.runs()


def _median_seconds(run: RunFolder) -> float:
    """Of an epoch; the first, which is slower, counts where it is the only one."""
    seconds = [row["seconds"] for row in read_json_lines(run.metrics)]
    return statistics.median(seconds[1:] or seconds)


def _rewards(findings: Findings, variant: str, runs: dict[str, RunFolder]) -> None:
    """The last rewards on changed inputs, and how their gains since the first epoch compare."""
    gains = {}
    for method in (_SFT, _RFT):
        rows = read_json_lines(runs[f"{variant}_{method}"].metrics)
        findings.number(
            f"{variant}: last reward on changed inputs, {method}", rows[-1][_REWARD], ""
        )
        gains[method] = rows[-1][_REWARD] - rows[0][_REWARD]
    what = f"{variant}: gain of reward on changed inputs, SFT to RFT"
    if gains[_RFT] > 0:
        findings.number(what, gains[_SFT] / gains[_RFT], "times")
    else:
        findings.left_out(what, f"RFT has gained {gains[_RFT]:.3g}, SFT {gains[_SFT]:.3g}")


def _last(run: RunFolder) -> float:
    return float(read_json_lines(run.metrics)[-1][_REWARD])
