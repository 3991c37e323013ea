"""Rewards that change others: by constants of a file, for some prompts, or from a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from grue.rewards.config import RewardConfig
from grue.rewards.reward import Reward
from grue.texts import Texts

LETTERS = {"id": "custom:tests.grue.parts:Letters"}


def built(kind: str, /, **args: Any) -> Reward[Any]:
    found = RewardConfig(id=kind, args=args)
    assert not list(found.problems())
    return found.build()


def texts(prompts: list[str], outputs: list[str]) -> Texts:
    return Texts(prompts, outputs, [[]] * len(prompts), [{}] * len(prompts))


def test_normalised_rewards_are_shifted_before_they_are_scaled(tmp_path: Path) -> None:
    file = tmp_path / "normalization.json"
    file.write_text(json.dumps({"a": {"shift": -0.25, "scale": 4.0}}))
    reward = built("normalized", reward=LETTERS, constants=str(file), name="a")
    assert reward(texts(["p", "p"], ["bad", "aei"])).tolist() == pytest.approx([1 / 3, 3.0])
    with pytest.raises(UserError, match="no constants of that name; known: a"):
        built("normalized", reward=LETTERS, constants=str(file), name="b").prepare()
    file.write_text("{}}")
    with pytest.raises(UserError, match="cannot be read"):
        built("normalized", reward=LETTERS, constants=str(file), name="a").prepare()


def test_a_prompt_is_scaled_by_its_text_alone() -> None:
    prompts = [f"prompt {number}" for number in range(400)]
    reward = built("scaled_prompts", reward=LETTERS, share=0.3, factor=0.5)
    found = reward(texts(prompts, ["a"] * 400))
    assert set(found) == {0.5, 1.0}
    chosen = found == 0.5
    assert abs(chosen.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 400)
    turned = reward(texts(prompts[::-1], ["a"] * 400))
    assert (turned[::-1] == found).all()
    other = built("scaled_prompts", reward=LETTERS, share=0.3, factor=0.5, seed=1)
    assert (other(texts(prompts, ["a"] * 400)) != found).any()
    for share, expected in ((0.0, 1.0), (1.0, 0.5)):
        every = built("scaled_prompts", reward=LETTERS, share=share, factor=0.5)
        assert set(every(texts(prompts, ["a"] * 400))) == {expected}
    moved = built("scaled_prompts", reward=LETTERS, share=1.0, factor=0.5, offset=3.0)
    assert moved(texts(["p"], ["a"])).tolist() == [2.0]


def test_a_reward_without_deviation_stays_accurate_when_it_is_scaled() -> None:
    reward = built("scaled_prompts", reward=LETTERS, share=1.0)
    found = reward(texts(["p"] * 3, ["bb", "ba", "aa"]))
    assert (np.diff(found) > 0).all() and np.ptp(found) == pytest.approx(0.001)


def test_precomputed_rewards_are_those_of_prompt_and_output(tmp_path: Path) -> None:
    table = tmp_path / "rewards.jsonl"
    rows = [{"prompt": "p", "output": "x", "rm": 1}, {"prompt": "q", "output": "x", "rm": -2.5},
            {"prompt": "p", "output": "x", "rm": 1.0}]  # fmt: skip
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reward = built("precomputed", path=str(table), column="rm")
    assert reward(texts(["q", "p"], ["x", "x"])).tolist() == [-2.5, 1.0]
    with pytest.raises(UserError, match="has no reward of the output 'y' to the prompt 'p'"):
        reward(texts(["p"], ["y"]))
    with pytest.raises(UserError, match="has no column 'other'; its columns are prompt"):
        built("precomputed", path=str(table), column="other").prepare()


@pytest.mark.parametrize("wrong", ["none", None, float("nan"), 2])
def test_a_table_with_no_or_two_rewards_of_an_output_is_refused(tmp_path: Path, wrong: Any) -> None:
    table = tmp_path / "rewards.json"
    rows = [{"prompt": "p", "output": "x", "rm": value} for value in (1, wrong)]
    table.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"row 2, 'rm' = .*needs one finite number"):
        built("precomputed", path=str(table), column="rm").prepare()
