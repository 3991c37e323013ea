"""What a run does otherwise than its keys suggest is said, and a short run logs its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from tests.conftest import Workplace
from tests.grue.conftest import nested, save_model, write
from tests.grue.parts import SAME
from tests.grue.stopping import assert_equal_models, stopped_and_whole
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning, rows_of
from tests.grue.test_reinforcement import MASKED, SAMPLED, reinforcement

ENV = {"max_prompt_length": 10, "max_episode_length": 6}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def notices(keys: dict[str, Any]) -> list[str]:
    """What a configuration's keys alone tell."""
    values = nested(keys)
    kind = FinetuneConfig if values.pop("experiment") == "grue_finetune" else ExtractConfig
    return list(kind.model_validate(values).notices())


def test_keys_that_do_otherwise_than_they_say_are_told(model: Path) -> None:
    assert notices(reinforcement(model, env__args=ENV)) == []
    longer = {**SAMPLED, "max_new_tokens": 9}
    (ends,) = notices(
        reinforcement(model, env__args=ENV, alg__policy__args__generation_kwargs=longer)
    )
    assert "max_new_tokens' = 9" in ends and "'env.args.max_episode_length' = 6" in ends
    (rest,) = notices(reinforcement(model, env__args=ENV, alg__args__batch_size=48))
    assert "'alg.args.batch_size' = 48" in rest and "16 x 8 tokens" in rest and "about 32" in rest
    assert notices(extraction(model)) == []
    (single,) = notices(extraction(model, evaluation__num_samples_per_input=1,
                                   evaluation__group_sizes=[2]))  # fmt: skip
    assert "one sample has no standard deviation" in single
    assert notices(extraction(model, evaluation__num_samples_per_input=1,
                              evaluation__group_sizes=[])) == []  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alg__args__warmup_iterations": 9}, None),
        ({"alg__args__warmup_iterations": 10}, "'alg.args.warmup_iterations' = 10: the run ends "
         "within its warm-up, after at most 10 iterations ('train_evaluation.n_iters')"),
        ({"alg__args__warmup_iterations": 3, "train_evaluation__max_samples": 17},
         "after at most 3 iterations ('train_evaluation.max_samples')"),
        ({"alg__args__warmup_iterations": 3, "train_evaluation__max_samples": 25}, None),
        ({"train_evaluation__eval_every": 99, "train_evaluation__save_every": 99}, None),
    ],
)  # fmt: skip
def test_schedules_beyond_the_last_iteration_are_told(
    model: Path, changes: dict[str, Any], told: str | None
) -> None:
    found = notices(reinforcement(model, env__args=ENV, **changes))
    assert len(found) == (told is not None)
    assert told is None or told in found[0]


@pytest.mark.parametrize(
    ("every", "frozen", "told"), [(10, False, False), (11, False, True), (11, True, False)]
)
def test_a_mask_that_is_never_refreshed_is_told(
    model: Path, every: int, frozen: bool, told: bool
) -> None:
    keys = {"alg__policy__args__target_update_iterations": every,
            "alg__compatibility": ["frozen_mask"] * frozen}  # fmt: skip
    found = notices(reinforcement(model, "nlpo", env__args=ENV, **(MASKED | keys)))
    assert [("is never refreshed, in at most 10" in notice) for notice in found] == [True] * told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"max_steps": 3, "warmup_steps": 3}, True),
        ({"max_steps": 3, "warmup_steps": 2}, False),
        ({"max_steps": 3, "warmup_steps": 0.5}, False),
        ({"num_train_epochs": 1, "warmup_steps": 3}, False),
    ],
)
def test_a_warm_up_of_all_steps_is_told(model: Path, arguments: dict[str, Any], told: bool) -> None:
    keys = {f"alg__training_args__{key}": value for key, value in arguments.items()}
    found = notices(finetuning(model, **keys))
    assert ["the run ends within its warm-up, after 'max_steps' = 3" in one for one in found] == [
        True
    ] * told


def test_a_warm_up_of_more_steps_than_the_epochs_have_is_logged(
    workplace: Workplace, model: Path
) -> None:
    run = finetuning(model, alg__training_args__num_train_epochs=1,
                     alg__training_args__warmup_steps=100)  # fmt: skip
    run.pop("alg.training_args.max_steps", None)
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert folder.log.read_text().count("the run ends within its warm-up, after") == 1


def test_cut_prompts_and_unused_outputs_are_told(workplace: Workplace, model: Path) -> None:
    env = {"max_prompt_length": 2, "max_episode_length": 6}
    many = reinforcement(model, env__args=env, env__n_envs=32, alg__args__n_steps=2,
                         train_evaluation__n_iters=2)  # fmt: skip
    beyond = reinforcement(model, env__args={**env, "max_prompt_length": 90},
                           train_evaluation__n_iters=1, experiment_name="beyond")  # fmt: skip
    long = finetuning(model, datapool__args={"long_prompt": True}, tokenizer__max_length=40,
                      alg__training_args__max_steps=1)  # fmt: skip
    outcome = workplace.run_plan(write(workplace, many, beyond, long))
    assert outcome.status == 0
    told = outcome.err
    assert told.count("of 40 prompts are longer than 2 tokens and are cut on the left") == 1
    assert told.count("of the rollout's 32 outputs are not used") == 1
    assert told.count("prompts are cut to 58 tokens, not to 90: the model has 64 positions") == 1
    assert told.count("1 of 40 rows of prompt and reference are longer than 64 tokens") == 1
    assert "Token indices sequence length" not in told
    sft = workplace.folders()[-1].log.read_text()
    assert sft.count("1 of 40 prompts are longer than 40 tokens") == 1  # of two evaluations


SILENT = "learns nothing from rewards"
DROPPING: dict[str, Any] = {"alg__args__zero_std_groups": "drop"}
RESAMPLING: dict[str, Any] = {"alg__args__overlong_buffer": None, "alg__args__max_resamples": 1,
                              "alg__args__num_minibatches": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "keys", "told"),
    [
        ("grpo", DROPPING, "all outputs have the same reward, so that the update makes no step"),
        ("dapo", RESAMPLING, "all outputs have the same reward, whatever is drawn again"),
        ("rejection_sampling", {"alg__args__select": "right", "alg__kl_div": {"coeff": 0.0}},
         "no output of its rollout is chosen, so that the update makes no step"),
        ("grpo", {}, None),
    ],
)  # fmt: skip
def test_rollouts_that_teach_nothing_are_told_once(
    workplace: Workplace, model: Path, algorithm: str, keys: dict[str, Any], told: str | None
) -> None:
    keys = {"reward_fn__id": SAME, "train_evaluation__n_iters": 3, **keys}
    assert workplace.run_plan(write(workplace, reinforcement(model, algorithm, **keys))).status == 0
    (folder,) = workplace.folders()
    said = folder.log.read_text()
    assert said.count(SILENT) == (told is not None)
    assert told is None or (f"iteration 1 {SILENT}" in said and told in said)
    steps = [row["update/num_steps"] for row in rows_of(folder)[1:4]]
    assert len(set(steps)) == 1
    assert (steps[0] == 0) == (told is not None and "makes no step" in told)


def test_a_run_of_dropped_groups_alone_goes_on_and_keeps_its_model(
    workplace: Workplace, model: Path
) -> None:
    """Its optimizer has no state, as it has made no step."""

    def make(**changes: Any) -> dict[str, Any]:
        own = {"reward_fn__id": SAME, "train_evaluation__n_iters": 5,
               "train_evaluation__eval_every": 2, "alg__args__warmup_iterations": 2}  # fmt: skip
        return reinforcement(model, "grpo", **own, **DROPPING, **changes)

    stopped, whole = stopped_and_whole(workplace, make)
    assert_equal_models(stopped, whole)
    before = AutoModelForCausalLM.from_pretrained(model).state_dict()
    after = AutoModelForCausalLM.from_pretrained(whole.path / "model").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    rows = [row for row in rows_of(whole) if "update/num_steps" in row]
    assert len(rows) == 5 and all(
        row["update/num_steps"] == row["groups/used"] == 0 for row in rows
    )


@pytest.mark.parametrize("given", [None, 100])
def test_a_short_run_logs_its_loss_ten_times(
    workplace: Workplace, model: Path, given: int | None
) -> None:
    run = finetuning(model, alg__training_args__max_steps=23)
    run["alg.training_args.logging_steps"] = given
    if given is None:
        del run["alg.training_args.logging_steps"]
    assert workplace.run_plan(write(workplace, run)).status == 0
    rows = [row for row in rows_of(workplace.folders()[0]) if "loss" in row]
    assert [row["step"] for row in rows] == list(range(2, 23, 2))
    assert not any("val/lexical/overlap" in row for row in rows)
