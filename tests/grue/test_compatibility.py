"""References as one text, as published, for all parts of a run that have the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config.resolve import resolve
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from grue.supervised.config import SupervisedAlg
from tests.grue.published_values import as_tree
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

METRICS = [
    {"id": "rouge", "args": {"use_single_ref": False}},
    {"id": "meteor", "args": {"stringify_references": False}},
    {"id": "meteor_common_gen_repeat_penalty", "args": None},
    {"id": "bleu"},
]
NAMES = [["rl4lms"], ["stringify_references"]]


def stringified(metrics: Any) -> list[bool | None]:
    return [metric.args.get("stringify_references") for metric in metrics]


def tree(keys: dict[str, Any]) -> dict[str, Any]:
    return as_tree({name: value for name, value in keys.items() if name != "experiment"})


def finetune(keys: dict[str, Any]) -> FinetuneConfig:
    config, problems = resolve(FinetuneConfig, tree(keys))
    assert config is not None, problems
    return config


@pytest.mark.parametrize("names", NAMES)
def test_reinforcement_sets_it_for_metrics_and_reward(names: list[str]) -> None:
    keys = {"train_evaluation__metrics": METRICS, "alg__compatibility": names}
    one = {"rouge_type": "rouge1"}
    for reward, args in (("meteor", {}), ("rouge", one), ("rouge_combined", {})):
        run = reinforcement(Path("model"), **keys, reward_fn__id=reward, reward_fn__args=args)
        config = finetune(run)
        assert stringified(config.train_evaluation.metrics) == [True, False, True, None]
        assert config.reward_fn is not None
        assert config.reward_fn.args["stringify_references"] is True
        again = FinetuneConfig.model_validate(config.model_dump(mode="json"))
        assert again == config
    weighted = {"rewards": [{"id": "meteor", "weight": 0.5}, {"id": "length"}]}
    config = finetune(reinforcement(Path("model"), **keys, reward_fn__id="weighted_sum",
                                    reward_fn__args=weighted))  # fmt: skip
    assert config.reward_fn is not None
    assert config.reward_fn.args["rewards"][0]["args"]["stringify_references"] is True
    given = {"stringify_references": False}
    config = finetune(reinforcement(Path("model"), **keys, reward_fn__id="meteor",
                                    reward_fn__args=given))  # fmt: skip
    assert config.reward_fn is not None and config.reward_fn.args["stringify_references"] is False


@pytest.mark.parametrize("names", NAMES)
def test_supervised_runs_and_extraction_set_it_for_metrics(names: list[str]) -> None:
    keys = {"train_evaluation__metrics": METRICS, "alg__compatibility": names}
    config = finetune(finetuning(Path("model"), **keys))
    assert stringified(config.train_evaluation.metrics) == [True, False, True, None]
    run = extraction(Path("model"), evaluation__metrics=METRICS, compatibility=names)
    extract, problems = resolve(ExtractConfig, tree(run))
    assert extract is not None, problems
    assert stringified(extract.evaluation.metrics) == [True, False, True, None]


@pytest.mark.parametrize("names", [[], ["frozen_mask", "no_reward_when_cut"]])
def test_other_behaviours_leave_the_best_reference(names: list[str]) -> None:
    keys = {"train_evaluation__metrics": METRICS, "alg__compatibility": names}
    config = finetune(reinforcement(Path("model"), **keys, reward_fn__id="meteor"))
    assert stringified(config.train_evaluation.metrics) == [False, False, False, None]
    assert config.reward_fn is not None and config.reward_fn.args["stringify_references"] is False


def test_wrong_keys_are_told_as_without_it() -> None:
    wrong = [{"id": "rogue"}, {"id": "meteor", "args": {"stringify": True}}, {"id": 3}, "rouge"]
    keys = {"train_evaluation__metrics": wrong, "alg__compatibility": ["rl4lms"]}
    run = tree(reinforcement(Path("model"), **keys))
    _, problems = resolve(FinetuneConfig, run)
    run["alg"]["compatibility"] = []
    _, expected = resolve(FinetuneConfig, run)
    assert problems and list(map(str, problems)) == list(map(str, expected))
    run["alg"]["compatibility"] = "rl4lm"
    _, problems = resolve(FinetuneConfig, run)
    assert any("alg.compatibility" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("keys", "joins"),
    [
        ({}, True),
        ({"compatibility": ["references_without_blank"]}, False),
        ({"compatibility": ["rl4lms"]}, False),
        ({"compatibility": ["stringify_references"]}, True),
        ({"compatibility": ["rl4lms"], "join_with_blank": True}, True),
        ({"join_with_blank": False}, False),
    ],
    ids=str,
)
def test_prompts_and_references_are_glued_together_as_published(
    keys: dict[str, Any], joins: bool
) -> None:
    config = finetune(finetuning(Path("model"), **{f"alg__{k}": v for k, v in keys.items()}))
    assert isinstance(config.alg, SupervisedAlg)
    assert config.alg.join_with_blank is joins


def test_runs_without_any_are_the_ones_they_were_before_there_were_names() -> None:
    alg = finetune(finetuning(Path("model"))).identity()["alg"]
    assert "compatibility" not in alg
    asked = finetuning(Path("model"), alg__compatibility=["rl4lms"])
    assert finetune(asked).identity()["alg"]["compatibility"] == ["rl4lms"]
