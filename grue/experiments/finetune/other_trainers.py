"""Names that other trainers have for keys of finetuning, to tell who knows these what to write."""

from __future__ import annotations

TRL = {
    "num_generations": "num_samples_per_input",
    "num_iterations": "n_epochs",
    "epsilon": "clip_range",
    "epsilon_high": "clip_range_high",
    "importance_sampling_level": "ratio",
    "loss_type": "aggregate",
    "scale_rewards": "advantage_scale",
    "entropy_coef": "ent_coef",
    "beta": "coeff",
    "max_completion_length": "max_new_tokens",
}
"""Keys by their names in TRL's `GRPOConfig` and `RLOOConfig`."""

VERL = {
    "lr": "learning_rate",
    "ppo_epochs": "n_epochs",
    "clip_ratio": "clip_range",
    "clip_ratio_high": "clip_range_high",
    "loss_agg_mode": "aggregate",
    "adv_estimator": "advantage",
    "norm_adv_by_std_in_grpo": "advantage_scale",
    "entropy_coeff": "ent_coef",
    "kl_coef": "coeff",
    "kl_loss_coef": "coeff",
    "cliprange_value": "clip_range_vf",
    "lam": "gae_lambda",
    "response_length": "max_new_tokens",
}
"""Keys by the last part of their names in verl."""

NAMES = TRL | VERL
