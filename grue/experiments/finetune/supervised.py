"""Supervised finetuning run."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grue.experiments.finetune.base import FinetuneRun
from grue.experiments.finetune.config import SupervisedConfig
from grue.supervised.arguments import check_count
from grue.supervised.rows import Rows, collate, make_rows
from grue.supervised.run import TrainerRun, Training


class SupervisedRun(FinetuneRun[SupervisedConfig, Path], TrainerRun[SupervisedConfig]):
    """Run that evaluates, trains with the Trainer, and evaluates again."""

    @property
    def model_name(self) -> str:
        """Name of the model that is finetuned."""
        return self.config.alg.model_name

    def given_arguments(self) -> Mapping[str, Any]:
        """Return the Trainer's arguments as the configuration gives them."""
        return self.config.alg.training_args

    def build_model(self) -> None:
        """Load the policy, and encode the rows that it learns."""
        super().build_model()
        self.rows = self._rows()
        check_count(len(self.rows), self.config.alg.training_args)

    def training(self) -> Training:
        """Return the policy's model and the rows of prompts and references."""
        pad_token = self.policy.tokenizer.pad_token_id or 0
        collator = functools.partial(collate, pad_token=pad_token)
        return Training(self.policy.model, self.rows, collator)

    def record(self, values: Mapping[str, float]) -> None:
        """Append a row of metrics, with a loss also the number of labelled inputs it is of."""
        labels = {"elapsed/labels": len(self.train_inputs)} if "loss" in values else {}
        super().record({**values, **labels})

    def evaluate_start(self) -> dict[str, float]:
        """Return the metrics of all splits before training."""
        return self.evaluate_everywhere("epoch_0")

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return the metrics of the validation split."""
        return self.evaluate("val", f"epoch_{self.epoch:g}")

    def evaluate_end(self) -> dict[str, float]:
        """Return the metrics of all splits after training."""
        return self.evaluate_everywhere(f"epoch_{self.epoch:g}")

    def _rows(self) -> Rows:
        tokenizer = self.policy.tokenizer
        longest = self.policy.longest or tokenizer.model_max_length
        return make_rows(
            self.train_inputs.samples,
            tokenizer,
            self.config.alg.model_type,
            limit=min(longest, tokenizer.model_max_length),
            join_with_blank=self.config.alg.join_with_blank,
            append_eos=self.config.alg.append_eos,
            mask_prompt=self.config.alg.mask_prompt,
        )
