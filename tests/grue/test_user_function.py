"""Functions of the user's as metrics and rewards, good and bad."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from grue import metrics, rewards
from grue.metrics.config import MetricConfig
from grue.metrics.custom import as_metric
from grue.metrics.metric import Metric, NoArgs
from grue.rewards.config import RewardConfig
from grue.rewards.custom import as_reward
from grue.rewards.reward import Reward
from grue.tasks.config import TaskConfig
from tests.grue.judging import texts

HERE = f"custom:{__name__}:"
GIVEN = texts(["a", "bb", "", "dddd", "ccc"], [["r"]] * 5, metadata=[{"k": i} for i in range(5)])


def length(prompts: list[str], outputs: list[str], references: Any, metadata: Any) -> list[int]:
    assert references == [["r"]] * len(outputs) and prompts[0].startswith("prompt")
    assert all("k" in found for found in metadata)
    return [len(output) for output in outputs]


def letters(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> torch.Tensor:
    return torch.tensor([[float(i < len(output)) for i in range(4)] for output in outputs])


def nothing(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> None:
    pass


def numbers_as_texts(prompts: Any, outputs: list[str], *_: Any) -> list[str]:
    return ["1"] * len(outputs)


def fails_for_d(prompts: Any, outputs: list[str], *_: Any) -> list[float]:
    if "dddd" in outputs:
        raise KeyError("dddd")
    return [0.0] * len(outputs)


def leaves_out_empty(prompts: Any, outputs: list[str], *_: Any) -> list[float]:
    return [1.0 for output in outputs if output]


def not_a_number(prompts: Any, outputs: list[str], *_: Any) -> list[float]:
    return [float("nan") if output == "bb" else 1.0 for output in outputs]


def not_a_number_of_the_batch(prompts: Any, outputs: list[str], *_: Any) -> list[float]:
    found = [1.0] * len(outputs)
    found[3] = float("nan")  # there is none, of fewer
    return found


def none_for_b(prompts: Any, outputs: list[str], *_: Any) -> list[float | None]:
    return [None if output == "bb" else 1.0 for output in outputs]


def none_after_the_last(prompts: Any, outputs: list[str], *_: Any) -> list[float | None]:
    return [*map(float, range(len(outputs))), None]


def texts_for_numbers(prompts: Any, outputs: list[str], *_: Any) -> list[str]:
    return list(outputs)


def fails_for_many(prompts: Any, outputs: list[str], *_: Any) -> list[float]:
    if len(outputs) > 4:
        raise MemoryError("too many")
    return [0.0] * len(outputs)


def one_output(prompt: str, output: str) -> float:
    return 0.0


def swapped(outputs: Any, prompts: Any, references: Any, metadata: Any) -> list[float]:
    return [0.0] * len(outputs)


def one_number(prompts: Any, outputs: list[str], *_: Any) -> float:
    return 1.0


class OtherMetric(Metric[NoArgs]):
    def scores(self, texts: Any, references: Any) -> dict[str, np.ndarray]:  # type: ignore[override]
        return {}


class NoScores(Metric[NoArgs]):
    """Measures nothing."""


class Constant(Metric[NoArgs]):
    def scores(self, texts: Any) -> dict[str, np.ndarray]:
        return {"own": np.ones(len(texts))}


NUMBER = 3


def test_a_function_is_a_metric_under_its_name() -> None:
    metric = MetricConfig(id=f"{HERE}length").build()
    np.testing.assert_array_equal(metric.scores(GIVEN)["custom/length"], [1, 2, 0, 4, 3])
    assert metric.corpus(GIVEN) == {"custom/length": 2.0}
    assert metric.scores(texts([]))["custom/length"].shape == (0,)


def test_a_function_is_a_reward_of_outputs_or_tokens() -> None:
    np.testing.assert_array_equal(RewardConfig(id=f"{HERE}length").build()(GIVEN), [1, 2, 0, 4, 3])
    found = RewardConfig(id=f"{HERE}letters").build()(GIVEN)
    np.testing.assert_array_equal(found.sum(-1), [1, 2, 0, 4, 3])
    assert found.shape == (5, 4) and found.dtype == np.float64


@pytest.mark.parametrize(
    "answer",
    [
        lambda numbers: torch.tensor(numbers)[:, None],
        lambda numbers: torch.tensor(numbers, dtype=torch.bfloat16, requires_grad=True),
        lambda numbers: torch.tensor(numbers, dtype=torch.int32),
        lambda numbers: [torch.tensor(number) for number in numbers],
        lambda numbers: tuple(torch.tensor([number], dtype=torch.bfloat16) for number in numbers),
        lambda numbers: [[number] for number in numbers],
        lambda numbers: np.array(numbers)[:, None],
        lambda numbers: [int(number) for number in numbers],
        lambda numbers: [np.float32(number) for number in numbers],
    ],
)
@pytest.mark.parametrize("kind", ["metric", "reward"])
def test_one_number_per_output_in_whatever_form(kind: str, answer: Any) -> None:
    def function(prompts: Any, outputs: list[str], *_: Any) -> Any:
        return answer([float(len(output)) for output in outputs])

    part = as_reward(function) if kind == "reward" else as_metric(function)
    found: Any = part(NoArgs())
    values = found(GIVEN) if kind == "reward" else found.scores(GIVEN)["custom/function"]
    assert values.shape == (5,) and values.dtype == np.float64
    np.testing.assert_array_equal(values, [1, 2, 0, 4, 3])


def test_a_function_that_scores_tokens_is_no_metric() -> None:
    with pytest.raises(UserError, match="letters' returned 4 numbers for each output, not one; "):
        MetricConfig(id=f"{HERE}letters").build().scores(GIVEN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fails_for_d",
            r"raised KeyError: 'dddd' \(.*, line \d+\) for prompt 'prompt 3', output 'dddd' ",
        ),
        (
            "leaves_out_empty",
            "returned 4 numbers for 5 outputs; wrong for prompt 'prompt 2', output ''",
        ),
        (
            "one_number",
            "returned a single number for 5 outputs; return a list with one number for each",
        ),
        ("nothing", "returned None for 5 outputs; return a list with one number for each"),
        ("numbers_as_texts", r"gave no numbers: \['1'\] for prompt 'prompt 0', output 'a'"),
        ("not_a_number", "gave nan for prompt 'prompt 1', output 'bb'"),
        ("not_a_number_of_the_batch", "gave nan for prompt 'prompt 3', output 'dddd'"),
        ("none_for_b", "gave None for prompt 'prompt 1', output 'bb'"),
        ("none_after_the_last", "returned 6 numbers for 5 outputs; wrong for prompt 'prompt 0'"),
        ("texts_for_numbers", r"gave no numbers: \['a'\] for prompt 'prompt 0', output 'a'"),
        (
            "fails_for_many",
            r"raised MemoryError: too many \(.*, line \d+\) for 5 outputs together, the first",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["metric", "reward"])
def test_what_goes_wrong_names_the_input(kind: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        if kind == "metric":
            MetricConfig(id=f"{HERE}{name}").build().scores(GIVEN)
        else:
            RewardConfig(id=f"{HERE}{name}").build()(GIVEN)
    assert str(raised.value).startswith(f"'{__name__}:{name}' ")
    if name == "fails_for_d":
        assert isinstance(raised.value.__cause__, KeyError)
        assert f"({__file__}, line " in str(raised.value)


def test_classes_are_used_as_they_are_and_anything_else_is_refused() -> None:
    assert metrics.find(f"{HERE}Constant") is Constant
    with pytest.raises(UserError, match=r"Constant is no grue\.rewards\.reward\.Reward"):
        rewards.find(f"{HERE}Constant")
    with pytest.raises(UserError, match="expected a function or a metric class, not 3"):
        metrics.find(f"{HERE}NUMBER")
    (problem,) = MetricConfig(id=f"{HERE}missing").problems()
    assert "cannot be imported" in str(problem)
    assert issubclass(rewards.find(f"{HERE}length"), Reward)
    assert rewards.find(f"{HERE}length").__qualname__ == "length"
    assert rewards.find(f"{HERE}length").__module__ == __name__
    assert metrics.find(f"{HERE}length") is metrics.find(f"{HERE}length")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (RewardConfig, "one_output", f"'{__name__}:one_output' takes (prompt, output); write "
         "def one_output(prompts, outputs, references, metadata)"),
        (MetricConfig, "one_output", "; write def one_output(prompts, outputs, references, "
         "metadata)"),
        (RewardConfig, "swapped", f"'{__name__}:swapped' takes (outputs, prompts, references, "
         "metadata); write def swapped(prompts, outputs, references, metadata)"),
        (MetricConfig, "OtherMetric", "OtherMetric has scores(self, texts, references) where it "
         "needs def scores(self, texts)"),
        (MetricConfig, "NoScores", "NoScores lacks def scores(self, texts)"),
        (TaskConfig, "length", "length is no grue.tasks.task.Task; give a class derived from"),
    ],
)  # fmt: skip
def test_what_cannot_be_called_is_found_with_the_keys(kind: Any, name: str, message: str) -> None:
    (problem,) = kind(id=f"{HERE}{name}").problems()
    assert message in str(problem)
