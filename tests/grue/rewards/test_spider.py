"""SPIDEr: the weighted sum, with and without SPICE, and shaped."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from grue import rewards
from grue.rewards.config import RewardConfig
from tests.grue.fake_spice import install
from tests.grue.made_texts import made_texts

TEXTS = made_texts(["a b", "c 2023-10-31", ""], [["a b"], ["a c"], ["d"]])


def spider(**args):
    reward = rewards.find("spider")
    return reward(reward.Args(**args))


def cider(texts):
    return spider(spice_coeff=0.0, cider_coeff=1.0)(texts)


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = str(install(tmp_path, monkeypatch))
    reward = spider(spice_coeff=0.5, cider_coeff=2.0, spice_jar=jar)
    reward.prepare()
    spice = [1, 0.5, 0]
    expected = [0.5 * a + 2 * b for a, b in zip(spice, cider(TEXTS), strict=True)]
    assert reward(TEXTS).tolist() == pytest.approx(expected, rel=1e-14)


def test_without_weight_spice_needs_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    reward = spider(spice_coeff=0.0, cider_coeff=1.0)
    reward.prepare()
    texts = made_texts(["a b", "a b"], [["a b"], ["a c"]])
    assert reward(texts).tolist() == pytest.approx([5, 0], rel=1e-14)


def test_shaping_is_added() -> None:
    shaped = spider(spice_coeff=0.0, cider_coeff=1.0, shaping_fn="sentences_with_dates")
    assert (shaped(TEXTS) - cider(TEXTS)).tolist() == pytest.approx([0, 1, 0], rel=1e-14)


def test_spice_without_its_program_is_a_problem_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SPICE_JAR", raising=False)
    config = RewardConfig(id="spider", args={"spice_coeff": 1.0, "cider_coeff": 1.0})
    (problem,) = config.problems()
    for part in ("'args.spice_jar'", "SPICE_JAR", "SPICE-1.0.jar", "'spice_coeff' = 0"):
        assert part in str(problem)


def test_the_environment_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = str(install(tmp_path, monkeypatch))
    monkeypatch.setenv("SPICE_JAR", jar)
    args = {"spice_coeff": 1.0, "cider_coeff": 0.0}
    config = RewardConfig(id="spider", args=args)
    assert not list(config.problems())
    assert config.args["spice_jar"] == jar
    assert config.build()(TEXTS).tolist() == [1, 0.5, 0]
    without = RewardConfig(id="spider", args=args | {"spice_coeff": 0.0})
    assert without.args["spice_jar"] is None


def test_a_missing_program_is_found_before_the_run(tmp_path: Path) -> None:
    reward = spider(spice_coeff=1.0, cider_coeff=1.0, spice_jar=str(tmp_path / "none.jar"))
    with pytest.raises(UserError, match="SPICE"):
        reward.prepare()


def test_an_input_without_references_is_named() -> None:
    with pytest.raises(UserError, match="'spider' needs references, and the input 'the prompt'"):
        cider(made_texts(["a"]))
