"""Log-linear run: setting, weights at the start, trainer, and the record of all three."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.experiment import Context
from common.run.folder import write_json
from common.training import checkpoint
from common.training.fit_experiment import FitExperiment
from common.training.trainer import Trainer
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.logged_updates import is_logged
from sft_vs_rft.log_linear.objective import Task
from sft_vs_rft.log_linear.policy import log_softmax
from sft_vs_rft.log_linear.setting import Setting, make_setting
from sft_vs_rft.log_linear.start import start_weights
from sft_vs_rft.log_linear.trainer import LogLinearPolicy, LogLinearTrainer

SETTING = "setting.json"
"""File of a run that holds its setting, in the format of setting files."""


def run(config: LogLinearConfig, context: Context) -> float | None:
    """Run one log-linear run in the context's folder and return its score."""
    return LogLinearExperiment(config, context).run()


class LogLinearExperiment(FitExperiment[LogLinearConfig, Setting]):
    """Policy gradient on a log-linear policy."""

    trainer: LogLinearTrainer

    def make_data(self) -> Setting:
        """Read the setting, or make one up."""
        return make_setting(self.config)

    def make_model(self, data: Setting) -> LogLinearPolicy:
        """Return the policy with its weights at the start."""
        model = LogLinearPolicy(start_weights(self.config, data))
        if self.config.load_model_from_checkpoint is not None:
            self.load_weights(model, self.config.load_model_from_checkpoint, {})
        return model

    def make_trainer(self, data: Setting, model: LogLinearPolicy) -> Trainer[int]:  # type: ignore[override]
        """Return the trainer; record the setting and the start."""
        config, weights = self.config, model.weights.numpy()
        log_probs = self._log_probs(data, weights)
        record = {
            "output_features": data.features.tolist(),
            "rewards": data.rewards.tolist(),
            "ground_truth_rewards": data.ground_truth_rewards.tolist(),
            "initial_policy_weights": [weights.tolist()],
            "initial_policy_probabilities": np.exp(log_probs).tolist(),
        }
        write_json(self.folder.path / SETTING, record)
        return LogLinearTrainer(
            Task(config, data, self._log_reference(data, log_probs)), model, self.context.seed
        )

    def _log_probs(self, data: Setting, weights: np.ndarray) -> np.ndarray:
        return log_softmax(data.scaled_features(self.config.logits_temperature) @ weights)

    def _log_reference(self, data: Setting, start: np.ndarray) -> np.ndarray:
        """Return [B, C] log-probabilities of the reference; ``start`` are those at the start."""
        if self.config.kl_reg_ref_unif:
            return log_softmax(np.zeros_like(start))
        path = self.config.load_kl_reg_ref_model_from_checkpoint
        if path is None:
            return start
        model = LogLinearPolicy(np.zeros_like(data.features[0, 0]))
        try:
            state = checkpoint.load(Path(path))
            problem = checkpoint.misfit(model, checkpoint.weights(state))
            if problem:
                raise UserError(problem)
        except UserError as error:
            key = "load_kl_reg_ref_model_from_checkpoint"
            raise UserError(f"'{key}' = '{path}': {error}") from None
        model.load_state_dict(checkpoint.weights(state))
        return self._log_probs(data, model.weights.numpy())

    def epochs_with_rows(self, epochs: range) -> Iterable[int]:
        """Return those of the finished updates that have rows of metrics."""
        total, every = self.config.epochs, self.config.log_every_update
        return (update for update in epochs if is_logged(update, total, every=every))

    def evaluate_end(self) -> dict[str, float]:
        """Return the updates until the target was reached, if it was."""
        updates = self.trainer.updates_to_target
        return {} if updates is None else {"updates_to_target": updates}
