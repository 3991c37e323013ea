"""Grouping of controlled runs that can be trained together as one batched model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
"""Keys in which runs of a group may differ, in addition to those without effect."""


def key(identity: Mapping[str, Any], *alike: Any) -> str:
    """Return the key of a group: architecture, data sizes, epochs, method.

    Args:
        identity: the keys of a run that can change its results.
        alike: further values that the runs of a group share.
    """
    shared = {name: value for name, value in identity.items() if name not in _MAY_DIFFER}
    return json.dumps([shared, *alike], sort_keys=True)
