"""Text runs do without operations that have no deterministic algorithm on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.config.run import RunConfig
from common.training.determinism import set_numerics
from tests.conftest import Workplace
from tests.grue.conftest import encoder_decoder, save_model, write
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import MASKED, reinforcement
from tests.grue.test_reward_model import configuration, write_data
from tests.refusing import RefusingGpu


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    set_numerics(RunConfig())


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def run(workplace: Workplace, *configurations: dict[str, Any]) -> None:
    told = [{**configuration, "deterministic": True} for configuration in configurations]
    with RefusingGpu():
        assert workplace.run_plan(write(workplace, *told)).status == 0


def test_reinforcement(workplace: Workplace, model: Path) -> None:
    short: dict[str, Any] = {"train_evaluation__n_iters": 1}
    top_p = {"do_sample": True, "top_k": 0, "top_p": 0.9, "max_new_tokens": 6}
    run(
        workplace,
        reinforcement(model, "ppo", alg__policy__args__generation_kwargs=top_p, **short),
        reinforcement(model, "nlpo", **MASKED, **short),
        reinforcement(model, "reinforce", **short),
    )


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_encoder_decoders(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, kind: str
) -> None:
    folder = workplace.path / kind
    encoder_decoder(kind, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    run(
        workplace,
        finetuning(folder, alg__model_type="seq2seq", alg__training_args__max_steps=1),
        reinforcement(folder, alg__policy__id="seq2seq_lm_actor_critic_policy",
                      train_evaluation__n_iters=1),
    )  # fmt: skip


def test_the_trainer(workplace: Workplace, model: Path) -> None:
    run(workplace, finetuning(model, alg__training_args__max_steps=2))


def test_reward_models(workplace: Workplace, model: Path) -> None:
    data = write_data(workplace.path / "data", 2, train=32)
    for loss in ("best_of_n", "probabilistic"):
        keys = configuration(model, data, loss)
        keys["alg"]["training_args"]["max_steps"] = 1
        keys["deterministic"] = True
        plan = workplace.write_plan(
            experiment="reward_model", configurations=[{"base_config": keys}]
        )
        with RefusingGpu():
            assert workplace.run_plan(plan).status == 0
