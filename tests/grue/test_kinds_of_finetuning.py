"""Finetuning by references and by rewards: two configurations of one published tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config.resolve import resolve
from grue.experiments.finetune.config import (
    FinetuneConfig,
    ReinforcementConfig,
    SupervisedConfig,
)
from tests.grue.conftest import nested
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

MODEL = Path("model")
REWARD = {"id": "length"}


def read(keys: dict[str, Any]) -> tuple[FinetuneConfig | None, list[str]]:
    values = nested({key: value for key, value in keys.items() if key != "experiment"})
    config, problems = resolve(FinetuneConfig, values)
    return config, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (finetuning(MODEL), SupervisedConfig),
        (finetuning(MODEL) | {"alg.id": "my_supervised_t5"}, SupervisedConfig),
        (reinforcement(MODEL), ReinforcementConfig),
        (reinforcement(MODEL, "reinforce"), ReinforcementConfig),
    ],
)
def test_the_algorithm_decides_the_kind(keys: dict[str, Any], kind: type[FinetuneConfig]) -> None:
    config, problems = read(keys)
    assert not problems and type(config) is kind
    again = FinetuneConfig.model_validate(config.model_dump(mode="json"))
    assert type(again) is kind and again == config


def test_reinforcement_needs_keys_of_its_own() -> None:
    needed = {"train_evaluation.n_iters", "train_evaluation.eval_every"}
    flat = reinforcement(MODEL)
    others = {"reward_fn", "env"}
    keys = {key: value for key, value in flat.items()
            if key not in needed and key.partition(".")[0] not in others}  # fmt: skip
    assert flat.keys() - keys.keys() >= needed
    _, problems = read(keys)
    assert sorted(problems) == sorted(f"'{key}': this key is required" for key in needed | others)


def test_what_is_wrong_beside_an_unknown_algorithm_is_of_neither_kind() -> None:
    _, problems = read({"alg.id": "pqo"})
    assert not [text for text in problems if "reward_fn" in text or "env" in text]
    assert any(text.startswith("'alg.id' = 'pqo': unknown; did you mean") for text in problems)


def test_supervised_runs_accept_keys_for_rewards_and_look_at_them() -> None:
    """Published trees hold them; they are part of what tells runs apart, as before."""
    plain, problems = read(finetuning(MODEL))
    rewarded, others = read(finetuning(MODEL) | {"reward_fn": REWARD})
    assert not problems + others and plain is not None and rewarded is not None
    assert plain.identity()["reward_fn"] is None and plain.identity()["env"] is None
    assert rewarded.identity()["reward_fn"]["id"] == "length"
    _, (problem,) = read(finetuning(MODEL) | {"reward_fn": {"id": "lenght"}})
    assert problem.startswith("'reward_fn.id' = 'lenght': unknown reward; did you mean 'length'?")
