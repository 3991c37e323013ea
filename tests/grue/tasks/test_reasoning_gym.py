"""Problems of Reasoning Gym; a stand-in takes the package's place where it is not installed."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.packages import is_installed
from grue.metrics.config import MetricConfig
from grue.rewards.config import RewardConfig
from grue.tasks.config import TaskConfig
from grue.tasks.task import Sample
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.judging import texts
from tests.grue.tasks.conftest import samples
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement


class Doubles:
    """A generator in the form of the package's: the double of a number."""

    def __init__(self, size: int, seed: int, largest: int = 100_000) -> None:
        assert largest > 1, "largest must be above 1"
        self.size, self.seed, self.largest = size, seed, largest

    def __getitem__(self, number: int) -> dict[str, Any]:
        assert number < self.size
        asked = (self.seed + number) % self.largest
        known = {
            "source_dataset": "doubles", "source_index": number, "digits": len(str(asked)),
            "asked": asked, "difficulty": {"digits": (1, 5), "range": (0, 9)},
        }  # fmt: skip
        return {"question": f"Twice {asked}?", "answer": str(2 * asked), "metadata": known}


def score(answer: str | None, entry: dict[str, Any]) -> float:
    """1, or 0.5 for a number that is wrong; fails for what is no number, as some scorers do."""
    if answer is None:
        return 0.0
    return 1.0 if int(answer) == int(entry["answer"]) else 0.5


@pytest.fixture
def gym(monkeypatch: pytest.MonkeyPatch) -> None:
    package, factory = ModuleType("reasoning_gym"), ModuleType("reasoning_gym.factory")
    factory.DATASETS = {"doubles": None, "halves": None}  # type: ignore[attr-defined]
    package.create_dataset = lambda _, **keys: Doubles(**keys)  # type: ignore[attr-defined]
    package.get_score_answer_fn = lambda _: score  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)
    monkeypatch.setattr("grue.metrics.answers.reasoning_gym._scorer", lambda _: score)


def answered(found: list[Sample], outputs: list[str]) -> Texts:
    metadata = [dict(sample.metadata) for sample in found]
    return texts(outputs, prompts=[sample.prompt for sample in found], metadata=metadata)


@pytest.mark.usefixtures("gym")
def test_problems_have_the_numbers_that_make_them_difficult() -> None:
    """Of those, a problem's own, not the ranges; others stay in its entry."""
    for sample in samples("reasoning_gym", generator="doubles", num_samples=8):
        asked = sample.prompt.split()[1].rstrip("?")
        assert set(sample.metadata) == {"entry", "digits"}
        assert sample.metadata["digits"] == len(asked)


@pytest.mark.usefixtures("gym")
def test_splits_are_consecutive_problems_of_one_stream() -> None:
    args = {"generator": "doubles", "num_samples": 8}
    splits = [samples("reasoning_gym", split, **args) for split in ("train", "val", "test")]
    assert [len(split) for split in splits] == [8, 2, 2]
    asked = [int(s.prompt.split()[1].rstrip("?")) for split in splits for s in split]
    assert asked == list(range(asked[0], asked[0] + 12))
    assert all(int(s.references[0]) == 2 * n for s, n in zip(splits[0], asked, strict=False))
    others = samples("reasoning_gym", **args, seed=1)
    assert not {s.prompt for s in others} & {s.prompt for split in splits for s in split}


@pytest.mark.usefixtures("gym")
def test_options_text_and_form_of_a_prompt() -> None:
    args: dict[str, Any] = {"generator": "doubles", "options": {"largest": 2}, "num_samples": 2}
    found = samples("reasoning_gym", **args, prompt_suffix=" Be quick.", chat_template=True)
    assert {s.prompt for s in found} == {"Twice 0? Be quick.", "Twice 1? Be quick."}
    assert found[0].messages == [{"role": "user", "content": found[0].prompt}]


@pytest.mark.usefixtures("gym")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"generator": "double"}, "'datapool.args.generator' = 'double': unknown; did you mean "),
        ({"generator": "doubles", "options": {"largest": 0}}, "AssertionError: largest must be"),
        ({"generator": "doubles", "options": {"most": 1}}, "'datapool.args.options' = {'most': 1}"),
    ],
)
def test_wrong_generators_and_options_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        samples("reasoning_gym", **args)
    assert message in str(error.value)


@pytest.mark.usefixtures("gym")
def test_answers_get_the_scorers_score(caplog: pytest.LogCaptureFixture) -> None:
    found = samples("reasoning_gym", generator="doubles", num_samples=4)
    right = found[0].references[0]
    outputs = answered(found, [f" {right}\n", "0", "many", ""])
    with caplog.at_level(logging.WARNING):
        assert RewardConfig(id="reasoning_gym").build()(outputs).tolist() == [1, 0.5, 0, 0]
    assert caplog.text.count("fails with ValueError") == 1
    tagged = answered(found[:3], [f"<answer>{right}</answer> 7", right, "<answer></answer>"])
    metric = MetricConfig(id="reasoning_gym", args={"pattern": "<answer>(.*?)</answer>"}).build()
    assert metric.scores(tagged)["answer/score"].tolist() == [1, 0, 0]


def test_other_tasks_have_no_scorer() -> None:
    with pytest.raises(UserError, match="the input 'prompt 0' is none; choose this task"):
        RewardConfig(id="reasoning_gym").build()(texts(["1"]))


def test_another_task_is_refused_before_the_first_run(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Also where the reward is one of a sum."""
    model = save_model(Path(workplace.path / "model"), tokenizer)
    of_sum = {"rewards": [{"id": "length"}, {"id": "reasoning_gym"}]}
    keys = reinforcement(model, reward_fn={"id": "weighted_sum", "args": of_sum})
    del keys["reward_fn.id"]
    keys["train_evaluation.metrics"] = [{"id": "reasoning_gym"}]
    outcome = workplace.run_plan(write(workplace, keys))
    assert outcome.status != 0
    for key in ("reward_fn' = 'weighted_sum'", "train_evaluation.metrics[0]' = 'reasoning_gym'"):
        assert f"'{key}: reads 'entry' of each input's metadata, which the split" in outcome.err
    assert not workplace.folders()


def test_a_lacking_package_is_named_before_the_first_run(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.packages.is_installed", lambda _: False)
    model = save_model(Path(workplace.path / "model"), tokenizer)
    datapool = {"id": "reasoning_gym", "args": {"generator": "chain_sum"}}
    (problem,) = TaskConfig(**datapool).missing()
    assert "needs the package 'reasoning-gym': " in str(problem)
    outcome = workplace.run_plan(write(workplace, finetuning(model, datapool=datapool)))
    assert outcome.status != 0
    assert "'datapool.args.generator' = 'chain_sum': needs the package" in outcome.err
    assert not workplace.folders()


@pytest.mark.skipif(not is_installed("reasoning_gym"), reason="the package is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself() -> None:
    options = {"max_terms": 2, "max_digits": 1}
    args = {"generator": "chain_sum", "options": options, "num_samples": 20}
    found = samples("reasoning_gym", **args)
    assert found == samples("reasoning_gym", **args)
    outputs = answered(found, [sample.references[0] for sample in found])
    assert RewardConfig(id="reasoning_gym").build()(outputs).tolist() == [1] * 20
    with pytest.raises(UserError, match="did you mean 'chain_sum'"):
        samples("reasoning_gym", generator="chain_sums")
