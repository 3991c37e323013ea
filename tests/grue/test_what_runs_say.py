"""What a run does otherwise than its keys suggest is said, and a short run logs its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig
from tests.conftest import Workplace
from tests.grue.conftest import nested, save_model, write
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning, rows_of
from tests.grue.test_reinforcement import SAMPLED, reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def notices(keys: dict[str, Any]) -> list[str]:
    """What a configuration's keys alone tell."""
    values = nested(keys)
    kind = FinetuneConfig if values.pop("experiment") == "grue_finetune" else ExtractConfig
    return list(kind.model_validate(values).notices())


def test_keys_that_do_otherwise_than_they_say_are_told(model: Path) -> None:
    env = {"max_prompt_length": 10, "max_episode_length": 6}
    assert notices(reinforcement(model, env__args=env)) == []
    longer = {**SAMPLED, "max_new_tokens": 9}
    (ends,) = notices(
        reinforcement(model, env__args=env, alg__policy__args__generation_kwargs=longer)
    )
    assert "max_new_tokens' = 9" in ends and "'env.args.max_episode_length' = 6" in ends
    (rest,) = notices(reinforcement(model, env__args=env, alg__args__batch_size=48))
    assert "'alg.args.batch_size' = 48" in rest and "16 x 8 tokens" in rest and "about 32" in rest
    assert notices(extraction(model)) == []
    (single,) = notices(extraction(model, evaluation__num_samples_per_input=1,
                                   evaluation__group_sizes=[2]))  # fmt: skip
    assert "one sample has no standard deviation" in single
    assert notices(extraction(model, evaluation__num_samples_per_input=1,
                              evaluation__group_sizes=[])) == []  # fmt: skip


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
