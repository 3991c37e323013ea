"""Reward functions of TRL's that tell how rewards deviate within prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from grue.interop.dumps import read_samples
from grue.interop.reward_std import deviation, with_reward_std
from tests.grue.conftest import save_model
from tests.tools import imported

PROMPTS = ["a"] * 4 + ["b"] * 4


class Logged(dict[str, list[float]]):
    def __call__(self, name: str, value: float) -> None:
        self.setdefault(name, []).append(value)


def scored(rewards: list[float | None], **settings: Any) -> Logged:
    """What is logged of completions of two prompts with these rewards."""
    logged = Logged()

    def quality(prompts: list[str], **_: Any) -> list[float | None]:
        return rewards

    wrapped = with_reward_std(quality, **settings)
    assert wrapped(prompts=PROMPTS, completions=[""] * 8, log_metric=logged) == rewards
    return logged


def test_a_reward_that_is_constant_per_prompt_deviates_between_them_alone() -> None:
    logged = scored([1.0] * 4 + [3.0] * 4)
    assert logged["reward_std/quality/per_input_mean"] == [0]
    assert logged["reward_std/quality/per_input_rms"] == [0]
    assert logged["reward_std/quality/frac_zero"] == [1]
    assert logged["reward_std/quality/between_inputs"] == [pytest.approx(2**0.5)]


def test_stds_are_unbiased_in_the_square_and_of_each_prompt() -> None:
    logged = scored([0.0, 2.0, 0.0, 2.0, 5.0, 5.0, 5.0, 5.0])
    std = (4 / 3) ** 0.5
    assert logged["reward_std/quality/per_input_mean"] == [pytest.approx(std / 2)]
    assert logged["reward_std/quality/per_input_rms"] == [pytest.approx((4 / 6) ** 0.5)]
    assert logged["reward_std/quality/frac_zero"] == [0.5]


def test_completions_without_a_reward_are_left_out() -> None:
    logged = scored([None, 2.0, None, 2.0, None, None, None, 4.0], name="other")
    assert logged == {
        f"reward_std/other/{metric}": [value]
        for metric, value in [("per_input_mean", 0), ("per_input_rms", 0), ("frac_zero", 1)]
    }


def test_equal_prompts_next_to_each_other_are_told_apart_by_their_number() -> None:
    logged = scored([1.0, 1.0, 2.0, 2.0] * 2, num_generations=2)
    assert logged["reward_std/quality/frac_zero"] == [1]


def test_nothing_is_logged_of_single_completions() -> None:
    assert deviation([]) == {}
    assert scored([1.0] * 8, num_generations=1) == {}


def test_a_coroutine_stays_one() -> None:
    logged = Logged()

    async def quality(prompts: list[str], **_: Any) -> list[float]:
        return [0.0, 1.0] * 4

    wrapped = with_reward_std(quality)
    assert asyncio.iscoroutinefunction(wrapped)
    found = asyncio.run(wrapped(prompts=PROMPTS, completions=[], log_metric=logged))  # type: ignore
    assert found == [0.0, 1.0] * 4
    assert logged["reward_std/quality/frac_zero"] == [0]


@pytest.mark.filterwarnings("ignore")  # the trainer's own
@pytest.mark.parametrize("kind", ["GRPO", "RLOO"])
def test_trainers_log_it_beside_their_own(
    kind: str,
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trl = imported("trl")
    from datasets import Dataset

    from grue.interop.silent_groups import SilentGroupsWarning

    model = save_model(tmp_path / "model", tokenizer)

    def by_prompt(prompts: list[str], **_: Any) -> list[float]:
        return [float(prompt == "the cat") for prompt in prompts]

    settings = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=4, num_generations=2,
        max_completion_length=4, max_steps=3, beta=0.0, use_cpu=True, bf16=False, logging_steps=1,
        save_strategy="no", report_to="none", disable_tqdm=True, log_completions=True,
        activation_checkpointing=False,
    )  # fmt: skip
    warning = SilentGroupsWarning(steps=2, share=1.0)
    trainer = getattr(trl, f"{kind}Trainer")(
        model=str(model), reward_funcs=with_reward_std(by_prompt), args=settings,
        train_dataset=Dataset.from_list([{"prompt": "the cat"}, {"prompt": "a dog"}]),
        processing_class=tokenizer, callbacks=[warning],
    )  # fmt: skip
    trainer.train()
    rows = [row for row in trainer.state.log_history if "reward_std" in row]
    assert len(rows) == 3
    for row in rows:
        assert row["reward_std/by_prompt/per_input_mean"] == 0
        assert row["reward_std/by_prompt/frac_zero"] == 1
        assert row["reward_std"] > 0.5  # of the whole batch: prompts differ
    assert "rewards/by_prompt/mean" in rows[0]
    assert caplog.text.count("at least 100 % of the groups had equal rewards") == 1
    if kind == "GRPO":  # the other writes no table
        samples, rewards, _ = read_samples([tmp_path / "out/completions"], "trl")
        assert rewards == ["by_prompt"]
        assert len(samples) == 12 and samples["step"].unique().tolist() == [1, 2, 3]
        assert samples["index"].nunique() == 6 and set(samples["sample_id"]) == {0, 1}
        assert (samples["by_prompt"] == (samples["prompt"] == "the cat")).all()


OF_GROUPS, OF_BATCH = {}, {"scale_rewards": "batch"}
ONE = {"rewards/f/mean": 0.5}
SILENT, SPREAD = {"frac_reward_zero_std": 1.0}, {"frac_reward_zero_std": 0.0}
WRAPPED = {"reward_std/f/frac_zero": 1.0}
SAID, UNKNOWN = "groups had equal rewards", "nothing tells how many groups are silent"


@pytest.mark.parametrize(
    ("settings", "logs", "message"),
    [
        (OF_GROUPS, ONE | SILENT, SAID),
        (OF_GROUPS, ONE | SPREAD | WRAPPED, ""),  # another part of the reward deviates
        (OF_BATCH, ONE | SPREAD | WRAPPED, SAID),
        (OF_BATCH, ONE | SPREAD, UNKNOWN),
        (OF_BATCH, ONE | SPREAD | WRAPPED | {"rewards/g/mean": 0.0}, UNKNOWN),
        ({"multi_objective_aggregation": "normalize_then_sum"}, ONE | SPREAD, UNKNOWN),
        (OF_BATCH, {"train_loss": 0.0}, ""),
    ],
)
def test_the_warning_knows_silent_groups_from_silent_batches(
    settings: dict[str, str],
    logs: dict[str, float],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from grue.interop.silent_groups import SilentGroupsWarning

    warning, state = SilentGroupsWarning(steps=2, share=1.0), SimpleNamespace(global_step=7)
    for _ in range(4):
        warning.on_log(SimpleNamespace(**settings), state, None, logs)
    assert len(caplog.records) == bool(message)
    assert message in caplog.text
