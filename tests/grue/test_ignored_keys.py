"""Keys that published files give and that have no effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config.resolve import resolve
from common.hashing import fingerprint
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from tests.grue.conftest import nested
from tests.grue.test_extract import extraction
from tests.grue.test_reinforcement import reinforcement

ROUGE = {"id": "rouge_l_max", "args": {"alpha": 0.4}}
IGNORED: dict[str, Any] = {
    "alg.args.verbose": 1,
    "alg.policy.args.apply_model_parallel": False,
    "env.args.priority_scale": 0.5,
    "env.args.context_start_token": 0,
}


def read(kind: Any, flat: dict[str, Any]) -> Any:
    tree = nested(flat)
    del tree["experiment"]
    config, problems = resolve(kind, tree)
    assert config is not None
    assert not problems
    return config


def finetuning(algorithm: str = "ppo", **changes: Any) -> FinetuneConfig:
    flat = reinforcement(Path("model"), algorithm)
    env = flat.pop("env.args")
    flat |= {f"env.args.{key}": env[key] for key in ("max_prompt_length", "max_episode_length")}
    return read(FinetuneConfig, flat | changes)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "trpo", "reinforce"])
def test_a_run_is_the_same_with_them(algorithm: str) -> None:
    plain = finetuning(algorithm, reward_fn=ROUGE)
    args = ROUGE["args"] | {"max_n": 4, "apply_avg": False, "apply_best": True}  # type: ignore[operator]
    given = finetuning(algorithm, **IGNORED, reward_fn=ROUGE | {"args": args})
    assert fingerprint(plain.identity()) == fingerprint(given.identity())
    other = finetuning(algorithm, reward_fn=ROUGE | {"args": args | {"alpha": 0.3}})
    assert fingerprint(plain.identity()) != fingerprint(other.identity())


def test_a_run_without_them_is_the_one_it_was() -> None:
    """Its identity holds the defaults of these keys, as before they were left out of it."""
    identity = finetuning(reward_fn=ROUGE).identity()
    assert identity["alg"]["args"]["verbose"] == 0
    assert identity["alg"]["policy"]["args"]["apply_model_parallel"] is True
    assert identity["env"]["args"]["priority_scale"] == 0.0
    assert identity["env"]["args"]["context_start_token"] is None
    names = ("max_n", "apply_avg", "apply_best")
    assert [identity["reward_fn"]["args"][name] for name in names] == [None, True, False]


def test_those_given_are_said_in_one_line() -> None:
    reward = {"id": "rouge_l_max", "args": {"max_n": 4, "alpha": 0.4}}
    config = finetuning(**IGNORED, reward_fn=reward, **{"env.args.terminate_on_eos": True})
    (line,) = config.notices()
    said = {*IGNORED, "env.args.terminate_on_eos", "reward_fn.args.max_n"}
    assert set(line.split("'")[1::2]) == said
    assert not list(finetuning(reward_fn=ROUGE).notices())


def test_extractions_say_them_too() -> None:
    metric = {"id": "rouge_l_max", "args": {"apply_best": True}}
    flat = extraction(Path("model"), **{"evaluation.metrics": [metric]})
    (line,) = read(ExtractConfig, flat).notices()
    assert "'evaluation.metrics[0].args.apply_best'" in line
