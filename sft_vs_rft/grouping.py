"""Which controlled runs can be trained together as one batched model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sft_vs_rft.config import ControlledConfig

_MAY_DIFFER = frozenset(
    {
        "random_seed",
        "samples_rnd_seed",
        "init_rnd_seed",
        "frac_samples_to_modify_labels",
        "load_model_from_checkpoint",
        "trainer_checkpoint",
        "reward_type",
        "min_reward",
        "lr",
        "weight_decay",
        "kl_regularization_coeff",
        "kl_reg_ref_unif",
        "logits_temperature",
    }
)
"""Keys in which runs of a group may differ, beside those without effect."""


def why_alone(config: ControlledConfig) -> str | None:
    """Why a run cannot be one of a group; None where it can be."""
    if config.model_type != "mlp":
        return f"'model_type' = '{config.model_type}', and only 'mlp' can be batched"
    if config.precision != "float32":
        return f"'precision' = '{config.precision}', and only 'float32' can be batched"
    if len(config.gpu_ids) > 1:
        return f"'gpu_ids' = {list(config.gpu_ids)}, and a group has one device"
    if config.use_wandb:
        return "'use_wandb' = True, and Weights & Biases knows one run per process"
    return None


def key(config: ControlledConfig) -> str:
    """What the runs of a group have in common: architecture, data sizes, epochs, method, ..."""
    shared = {name: value for name, value in config.identity().items() if name not in _MAY_DIFFER}
    alike = [config.data_dir, config.gpu_ids, config.deterministic]
    return json.dumps([shared, *alike], sort_keys=True)
