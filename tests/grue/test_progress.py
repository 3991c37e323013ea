"""What runs of texts say that they are doing."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from common.runner.progress import Display
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

ACTIVITY = re.compile(r"evaluating \w+|sampling|scoring|updating")


def test_runs_tell_their_score_and_what_they_are_doing(
    workplace: Workplace,
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[str, list[tuple[int, str]]] = {}

    def progress(self: Display, tasks: list, done: int, total: int, doing: str) -> None:  # type: ignore[type-arg]
        told.setdefault(tasks[0].name, []).append((done, doing))

    monkeypatch.setattr(Display, "progress", progress)
    model = save_model(tmp_path / "model", tokenizer)
    plan = write(
        workplace,
        reinforcement(model, train_evaluation__n_iters=2, train_evaluation__eval_every=1),
        finetuning(model, alg__training_args__num_train_epochs=1),
        extraction(model),
    )
    assert workplace.run_plan(plan).status == 0

    def activities(name: str) -> list[tuple[int, str]]:
        last = [(done, doing.rpartition(", ")[2]) for done, doing in told[name]]
        return [each for each, _ in groupby(last) if ACTIVITY.fullmatch(each[1])]

    found = activities("ppo")
    rollout = [(0, "sampling"), (0, "scoring"), (0, "updating")]
    place = found.index(rollout[0])
    assert found[place - 1] == (0, "evaluating test")
    assert found[place : place + 2] == rollout[:2] and set(rollout) <= set(found)
    assert found.index(rollout[2]) == max(place for place, each in enumerate(found) if each[0] == 0)
    assert (1, "evaluating val") in found and (2, "evaluating val") in found
    scores = [doing for _, doing in told["ppo"] if "reward " in doing]
    assert scores and all(doing.startswith("val/") for doing in scores)

    assert {"updating", "evaluating val"} <= {doing for _, doing in activities("sft")}
    assert any("loss " in doing for _, doing in told["sft"])
    assert [doing for _, doing in activities("samples")][:2] == ["sampling", "scoring"]
