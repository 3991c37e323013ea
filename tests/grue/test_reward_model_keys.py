"""Reward models as lm-human-preferences trains them: its optimiser, batches and normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import Interrupted
from grue.experiments.reward_model.config import NormalizeConfig, RewardModelConfig
from grue.experiments.reward_model.normalization import reference_outputs
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.tasks.task import Sample
from tests.grue.conftest import save_model
from tests.grue.test_reward_model import (
    GENERATION,
    configuration,
    reference,
    run_of,
    weights,
    write_data,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path_factory.mktemp("base"), tokenizer)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), 4, train=96)


def keys(base: Path, sets: Path, **alg: Any) -> dict[str, Any]:
    return configuration(base, sets, "best_of_n", alg=alg)


def test_adam_in_tensorflows_form_goes_on_as_if_never_stopped(
    base: Path, sets: Path, tmp_path: Path
) -> None:
    own = keys(base, sets, optimizer="adam_tensorflow")
    run_of(tmp_path / "whole", own).proceed()
    asked = iter(range(1000))
    with pytest.raises(Interrupted, match="step 8 of 24"):
        run_of(tmp_path / "stopped", own, lambda: next(asked) >= 7).proceed()
    run_of(tmp_path / "stopped", own).proceed()
    run_of(tmp_path / "usual", keys(base, sets)).proceed()
    whole, stopped, usual = (weights(tmp_path / name) for name in ("whole", "stopped", "usual"))
    for name, found in whole.items():
        np.testing.assert_array_equal(found, stopped[name], err_msg=name)
    assert any(np.abs(found - usual[name]).max() > 1e-3 for name, found in whole.items())


def problems(base: Path, sets: Path, num_train: int | None = None, **changes: Any) -> list[str]:
    given = keys(base, sets, **changes.pop("alg", {})) | changes
    given["datapool"]["args"]["num_train"] = num_train
    return [str(problem) for problem in resolve(RewardModelConfig, given)[1]]


def test_labels_fill_whole_batches(base: Path, sets: Path) -> None:
    training = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    (message,) = problems(base, sets, 4990, alg={"training_args": training})
    assert message == (
        "'datapool.args.num_train' = 4990: is no multiple of "
        "'alg.training_args.per_device_train_batch_size' x 'gradient_accumulation_steps' = 8 x 4; "
        "give 4960, or set 'alg.training_args.dataloader_drop_last' to true"
    )
    assert problems(base, sets, 4992, alg={"training_args": training}) == []
    assert problems(base, sets, None, alg={"training_args": training}) == []
    training["dataloader_drop_last"] = 1
    assert problems(base, sets, 4990, alg={"training_args": training}) == []


def test_keys_that_do_not_fit(base: Path, sets: Path) -> None:
    both = {"optimizer": "adam_tensorflow", "training_args": {"optim": "adafactor"}}
    assert problems(base, sets, alg=both) == [
        "'alg.optimizer' = 'adam_tensorflow': contradicts 'training_args.optim'; give one of them"
    ]
    cut = reference(base, generation_kwargs={**GENERATION, "truncate_token": 13})
    assert problems(base, sets, normalize=cut) == [
        "'normalize.generation_kwargs.truncate_token' = 13: the outputs that rewards are "
        "normalised by are whole; drop it"
    ]


def test_the_reference_policy_reads_texts_around_a_prompt_by_themselves(
    base: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    read: list[Tokens] = []

    def recorded(self: Policy, prompts: list[Tokens], *_: Any) -> list[list[Tokens]]:
        read.extend(prompts)
        return [[[5]] for _ in prompts]

    monkeypatch.setattr(Policy, "sample", recorded)
    around = {"prompt_prefix": " the c", "prompt_suffix": " mat", "num_samples": 2}
    config, _ = resolve(NormalizeConfig, reference(base, **around))
    assert config is not None
    samples = [Sample("s", "at on", ())]
    prompts, outputs = reference_outputs(config, samples, seed=0, device=torch.device("cpu"))
    tokens = [tokenizer(text)["input_ids"] for text in (" the c", "at on", " mat")]
    assert read == [[*tokens[0], *tokens[1], *tokens[2]]] * 2
    assert prompts == ["at on"] * 2 and len(outputs) == 2
