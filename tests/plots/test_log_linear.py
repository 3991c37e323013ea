"""Figures of log-linear runs: which runs each takes, and the numbers that it draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, text_run

pytestmark = pytest.mark.usefixtures("drawn")
TRUTH = [1, 0.8, -1]


def run(
    folder: Path, rewards: list[float], *, best: float = 0.9, updates: int | None = None,
    start: float = 0.1, mediocre: tuple[float, float] = (0.0, 1.0), sampled: bool = False,
) -> Path:  # fmt: skip
    """A run that puts ``best`` on the best output, whose rewards are ``rewards`` by update."""
    setting = {
        "output_features": [[[1.5, 0], list(mediocre), [0, 0]]],
        "rewards": [[1, -1, -1]] if "proxy" in folder.name else [TRUTH],
        "ground_truth_rewards": [TRUTH],
        "initial_policy_probabilities": [[start + 1e-9, 0.5, 0.5 - start]],
    }
    shares = [(start if update == 0 else best) for update in range(len(rewards))]
    rows = [
        {"epoch": update, "expected ground truth reward": reward, "input_0_y_prob_0": share,
         "input_0_y_prob_1": (1 - share) / 2}
        for update, (reward, share) in enumerate(zip(rewards, shares, strict=True))
    ]  # fmt: skip
    keys: dict[str, Any] = {"epochs": 7, "target_reward": 0.9}
    path = text_run(folder, rows, use_expected_reinforce_updates=not sampled, **keys)
    (path / "setting.json").write_text(json.dumps(setting))
    found = {} if updates is None else {"updates_to_target": updates}
    (path / "summary.json").write_text(json.dumps(found))
    return path


def draw(name: str, *runs: Path, **options: Any) -> pd.DataFrame:
    (path,) = plots.draw(name, [make_index(runs[0].parent, list(runs))], **options)
    return pd.read_csv(path)


def test_stall_compares_exact_runs_by_their_start(tmp_path: Path, drawn: Any) -> None:
    runs = [
        run(tmp_path / "truth", [0.0, 0.5]),
        run(tmp_path / "proxy", [0.0, 0.25]),
        run(tmp_path / "early", [0.0, 0.75], start=0.05),
        run(tmp_path / "sampled", [0.0, 1.0], sampled=True),
    ]
    table = draw("loglin_stall", *runs)
    last = table[table["update"] == 1]
    assert last[["start", "trained_on", "median"]].to_numpy().tolist() == [
        [0.05, "the ground truth", 0.75],
        [0.1, "the ground truth", 0.5],
        [0.1, "a proxy", 0.25],
    ]
    assert len(drawn[0].axes) == 2
    table = draw("loglin_probabilities", *runs, only="truth")
    assert table[table["update"] == 1]["median"].tolist() == pytest.approx([0.9, 0.05])


def test_runs_with_a_single_output_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [run(tmp_path / "two", [0.0, 0.5]), run(tmp_path / "one", [1.0, 1.0])]
    setting = {
        "output_features": [[[1.5, 0]]], "rewards": [[1]], "ground_truth_rewards": [[1]],
        "initial_policy_probabilities": [[1]],
    }  # fmt: skip
    (runs[1] / "setting.json").write_text(json.dumps(setting))
    assert draw("loglin_stall", *runs)["n"].tolist() == [1, 1]
    assert caplog.messages == [f"{runs[1]}: left out, its first input has a single output"]


def test_sampled_tells_the_spread_of_seeds_and_the_share_that_finds_the_best(
    tmp_path: Path, drawn: Any
) -> None:
    runs = [
        run(tmp_path / f"{seed}", [0.0, seed / 10], best=0.6 if seed > 7 else 0.4, sampled=True)
        for seed in range(11)
    ]
    table = draw("loglin_sampled", *runs)
    last = table[table["update"] == 1].iloc[0]
    found = last[["n", "median", "low", "high", "mean", "share"]]
    assert found.tolist() == pytest.approx([11, 0.5, 0.05, 0.95, 0.5, 3 / 11])
    with pytest.raises(UserError, match="no run has 'use_expected_reinforce_updates' = true"):
        draw("loglin_stall", *runs)


def test_features_have_a_line_per_inner_product(tmp_path: Path, drawn: Any) -> None:
    runs = [
        run(tmp_path / name, [0.0, reward], mediocre=(product, 1))
        for name, reward, product in (("a", 0.3, 1), ("b", 0.2, 0), ("c", 0.1, -1))
    ]
    table = draw("loglin_features", *runs)
    last = table[table["update"] == 1]
    assert last[["inner_product", "median"]].to_numpy().tolist() == [
        [-1.5, 0.1], [0, 0.2], [1.5, 0.3],
    ]  # fmt: skip


def test_updates_of_runs_that_never_reach_the_target_are_those_of_the_whole_run(
    tmp_path: Path, drawn: Any
) -> None:
    runs = [
        run(tmp_path / "truth", [0.0]),
        run(tmp_path / "proxy", [0.0], updates=3),
        run(tmp_path / "early", [0.0], updates=0, start=0.2),
    ]
    table = draw("loglin_updates", *runs)
    assert table[["start", "trained_on", "reached", "updates"]].to_numpy().tolist() == [
        [0.1, "the ground truth", False, 7],
        [0.1, "a proxy", True, 3],
        [0.2, "the ground truth", True, 0],
    ]


def test_other_runs_are_not_drawn(tmp_path: Path) -> None:
    plan = make_index(tmp_path, [text_run(tmp_path / "text", [{"epoch": 0, "step": 0}])])
    with pytest.raises(UserError, match='"experiment": "log_linear"'):
        plots.draw("loglin_updates", [plan])
