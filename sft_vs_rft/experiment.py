"""Controlled run: data, model, trainer, and the table of the policy's behaviour per input."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from common.experiment import Context
from common.hashing import content_hash
from common.run.folder import read_table, write_json, write_table
from common.run.record_schemas import DamagedError
from common.training.checkpoint import State
from common.training.fit_experiment import FitExperiment
from common.training.seeding import seeded
from common.training.trainer import Callback, Trainer
from sft_vs_rft import objectives
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.run_data import Data, make_data
from sft_vs_rft.models.build import build_model
from sft_vs_rft.theory import table as theory_table
from sft_vs_rft.trainer import Batch, ControlledTrainer

PER_INPUT = "per_input"


def run(config: ControlledConfig, context: Context) -> float | None:
    """Run one controlled run in the context's folder and return its score."""
    return ControlledExperiment(config, context).run()


class ControlledExperiment(FitExperiment[ControlledConfig, Data]):
    """Pretraining or finetuning of a classifier."""

    def make_data(self) -> Data:
        """Draw subsets, label sets and label changes, and record them in ``data.json``."""
        data = make_data(self.config, self.device)
        write_json(self.folder.path / "data.json", data.record)
        return data

    def make_model(self, data: Data) -> nn.Module:
        """Return the classifier with its seeded or loaded initial weights."""
        with seeded(self.config.init_rnd_seed):
            model = build_model(self.config, data.input_shape, data.num_classes)
        path = self.config.load_model_from_checkpoint
        if path is not None:
            self.load_weights(model, path, self._facts())
        if self.config.channels_last:  # convolutions take the form of their weights
            model = model.to(memory_format=torch.channels_last)
        return model.to(self.device)

    def make_trainer(self, data: Data, model: nn.Module) -> Trainer[Batch]:
        """Return the trainer of the configured method."""
        trainer = ControlledTrainer(self.config, data, model, gpu_ids=self.gpu_ids)
        trainer.facts = self._facts()
        return trainer

    def callbacks(self) -> list[Callback]:
        """Return the callbacks of every fit, and the theory's table if it is configured."""
        config = self.config
        *found, checkpoints = super().callbacks()
        if config.theory_every is not None:
            found.append(
                theory_table.TheoryTable(
                    self.folder.table(theory_table.NAME),
                    every=config.theory_every,
                    epochs=config.epochs,
                    num_inputs=config.theory_inputs,
                )
            )
        return [*found, checkpoints]

    def lost_record(self, state: State) -> str | None:
        """Return what a resumed run has lost, including damaged tables of single inputs.

        Such a table is removed.
        """
        names = [PER_INPUT] + [theory_table.NAME] * (self.config.theory_every is not None)
        damages = []
        for path in map(self.folder.table, names):
            try:
                read_table(path, ["epochs_trained"])
            except DamagedError as error:
                path.unlink(missing_ok=True)
                damages.append(str(error))
        return "; ".join(damages) or super().lost_record(state)

    def _facts(self) -> dict[str, str | int]:
        """Return the record of the inputs and labels that a model was trained on."""
        config = self.config
        drawn = config.samples_rnd_seed is None
        facts: dict[str, str | int] = {
            "dataset": config.dataset,
            "num_train_samples": config.num_train_samples,
            "num_labels_per_sample": config.num_labels_per_sample,
            "samples_rnd_seed": f"random_seed {self.context.seed}"
            if drawn
            else f"{config.samples_rnd_seed}",
        }
        if config.data_path is not None:
            facts["data_path"] = f"content {content_hash(Path(config.data_path))[:8]}"
        return facts

    def measure(self, data: Data, trainer: Trainer[Batch]) -> None:
        """Add each training input's reward and expected-gradient norm to ``per_input.parquet``."""
        import pandas as pd

        assert isinstance(trainer, ControlledTrainer)
        # In float32, sums over labels end in rounding noise where the std is smallest.
        logits = trainer.logits_without_grad(data.train_inputs).double()
        value, std = objectives.reward_mean_std(logits, trainer.rewards)
        now = pd.DataFrame(
            {
                "epochs_trained": trainer.weights_epoch,
                "input": range(len(logits)),
                "changed": data.changed.numpy(),
                "reward_mean": value.cpu(),
                "reward_std": std.cpu(),
                "logit_grad_norm": objectives.expected_gradient_norm(logits, trainer.rewards).cpu(),
            }
        )
        path = self.folder.table(PER_INPUT)
        if trainer.epoch and path.exists():
            earlier = read_table(path, ["epochs_trained"])
            now = pd.concat([earlier[earlier.epochs_trained < trainer.weights_epoch], now])
        write_table(path, now)
