"""Checkpoints of text runs that find no room."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS
from tests.small_disks import brief_provenance, files_of_at_most

__all__ = ["brief_provenance"]


@pytest.mark.parametrize("limit", [60_000, 150_000])
def test_a_checkpoint_of_the_trainer_that_does_not_fit_is_left_out_whole(
    limit: int,
    workplace: Workplace,
    tmp_path: Path,
    brief_provenance: None,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = str(save_model(tmp_path / "gpt2", tokenizer))
    plan = write(
        workplace,
        {
            "experiment": "grue_finetune",
            "tokenizer.model_name": model,
            "datapool.id": ANIMALS,
            "alg.id": "supervised",
            "alg.model_type": "causal",
            "alg.model_name": model,
            "alg.training_args": {"max_steps": 2, "save_steps": 1, "save_strategy": "steps"},
            "train_evaluation.eval_batch_size": 20,
            "train_evaluation.generation_kwargs": {"max_new_tokens": 2},
        },
    )
    with files_of_at_most(limit):
        assert workplace.run_plan(plan).status == 1
    (folder,) = workplace.folders()
    found = folder.read_status()
    assert found["status"] == "interrupted", found["reason"]
    assert "checkpoints/checkpoint-1 does not fit" in found["reason"]
    assert list(folder.checkpoints.iterdir()) == []
    assert workplace.run_plan(plan).status == 0
