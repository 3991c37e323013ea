"""Settings of log-linear runs: features and rewards of all outputs, and how the policy starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.config.resolve import resolve
from common.errors import UserError
from common.files.documents import read_object
from common.training.seeding import seeded
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.tables import SettingTables


@dataclass(frozen=True)
class Setting:
    """Tables of a run, in its precision."""

    features: np.ndarray
    """[B, C, D]."""
    rewards: np.ndarray
    """[B, C] the rewards that are trained on."""
    ground_truth_rewards: np.ndarray
    """[B, C]."""
    start_probabilities: np.ndarray | None = None
    """[B, C] at the start; None if weights give it."""
    start_weights: np.ndarray | None = None
    """[D] at the start; None if they are solved for or drawn."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers B of inputs, C of outputs and D of features."""
        return self.features.shape

    def scaled_features(self, temperature: float) -> np.ndarray:
        """Return [B, C, D] the features whose products with the weights are the logits."""
        scaled: np.ndarray = self.features / self.features.dtype.type(temperature)
        return scaled


def make_setting(config: LogLinearConfig) -> Setting:
    """Return the setting that the keys name.

    Raises:
        UserError: the setting file cannot be read, or does not fit; the message has all problems.
    """
    path = config.custom_setting_config_path
    found = config.setting if path is None else read_tables(Path(path))
    if found is None:
        return _made_up(config)
    dtype = np.dtype(config.dtype)
    probabilities, weights = found.initial_policy_probabilities, found.initial_policy_weights
    return Setting(
        np.array(found.output_features, dtype),
        np.array(found.rewards, dtype),
        np.array(found.ground_truth_rewards, dtype),
        None if probabilities is None else np.array(probabilities, dtype),
        None if weights is None else np.array(weights[0], dtype),
    )


def read_tables(path: Path) -> SettingTables:
    """Return the content of a setting file.

    Raises:
        UserError: it cannot be read, or is no setting; the message has all problems.
    """
    found, problems = resolve(SettingTables, read_object(path))
    if found is None:
        raise UserError("is no setting: " + "; ".join(map(str, problems)))
    return found


def _made_up(config: LogLinearConfig) -> Setting:
    """Return features and rewards of one input, drawn in the published order."""
    import torch

    size, dtype = (config.num_outputs, config.feature_dim), getattr(torch, config.dtype)
    with seeded(config.data_rnd_seed):
        features = torch.eye(*size) if config.features_type == "id" else torch.randn(size)
        rewards = torch.rand(config.num_outputs) * 2 - 1
    table = rewards[None].to(dtype).numpy()
    return Setting(features[None].to(dtype).numpy(), table, table)
