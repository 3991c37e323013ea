"""Keys of a log-linear policy gradient run; names and values as published (arXiv 2604.25872)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from common.config.base import IGNORED, INPUT_FILE, NO_EFFECT, Interval, OptionalText, Seed
from common.config.fit import (
    FitConfig,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from common.errors import Problem
from sft_vs_rft.log_linear.tables import SettingTables

METRICS = (
    "reward", "reg objective value", "kl reg", "expected reward", "expected ground truth reward",
    "reward var", "params_norm", "grad norm", "normalized grad norm",
)  # fmt: skip
"""Metrics of all inputs together; the rows hold those of single inputs, too."""
_REWARDS = frozenset(METRICS[:2] + METRICS[3:5])

_MAY_DIFFER = frozenset(
    {
        "random_seed", "data_rnd_seed", "init_rnd_seed", "custom_setting_config_path",
        "setting", "weights_solver", "load_model_from_checkpoint",
        "trainer_checkpoint", "load_kl_reg_ref_model_from_checkpoint", "kl_reg_ref_unif",
        "kl_regularization_coeff", "lr", "logits_temperature", "target_reward",
        "features_type", "num_outputs", "feature_dim", "init_type", "init_std",
    }
)  # fmt: skip
"""Keys in which runs that are trained together may differ, and those without effect."""


class LogLinearConfig(FitConfig):
    """One run of policy gradient on a log-linear policy; every epoch is one update."""

    seed_keys: ClassVar[tuple[str, ...]] = ("random_seed", "data_rnd_seed", "init_rnd_seed")

    epochs: PositiveInt = 50_000
    """Number of updates."""
    validate_every: PositiveInt = 1000
    """Number of updates between kept checkpoints, pictures and checks of early stopping; they are
    made where a row of metrics is, too."""
    epoch_log_interval: Annotated[Interval, NO_EFFECT] = 1000
    """Number of updates between log lines; None (or -1) for none."""
    train_batch_log_interval: Annotated[Interval, NO_EFFECT] = None
    """Accepted from published plans: an update has one batch, of all inputs; None (or -1) for
    none."""
    score_metric_name: OptionalText = "reward"
    """Metric that is the run's score; None for no score."""
    log_every_update: bool = False
    """If true, every update has a row of metrics. Otherwise these have: all up to 10, every 10th up
    to 100, every 50th up to 1,000, every 500th beyond, and the last."""

    custom_setting_config_path: Annotated[OptionalText, INPUT_FILE] = None
    """JSON file with the keys of ``setting``; None for that, or a setting that is made up."""
    setting: SettingTables | None = None
    """Setting, written here instead of in a file; None for that file, or a setting that is made
    up."""
    weights_solver: Literal["checked", "published"] = "checked"
    """Solver of the weights at the start, where probabilities give it. ``checked`` refuses
    probabilities that no weights give, and lets the logits of an input have any common constant.
    ``published`` takes the logarithms as the logits, and the closest weights by least squares."""
    num_outputs: PositiveInt = 10
    """Number of outputs of a setting that is made up."""
    feature_dim: PositiveInt = 10
    """Number of features of a setting that is made up."""
    features_type: Literal["id", "rnd"] = "id"
    """Features of a setting that is made up: rows of an identity matrix, or standard normal
    numbers. The rewards are uniform in [-1, 1), and the ground truth is the same."""
    data_rnd_seed: Seed = None
    """Seed of a setting that is made up; None (or -1) draws from the root stream."""
    reward_type: Annotated[Literal["rnd"], IGNORED, NO_EFFECT] = "rnd"
    """Accepted for published plans and ignored: rewards are the setting's, or made up."""
    load_dataset_to_gpu: Annotated[bool, IGNORED, NO_EFFECT] = False
    """Accepted for published plans and ignored: tables of this size are worked on by the CPU."""

    init_type: Literal["zero", "gauss"] = "zero"
    """Weights at the start of a setting that is made up: zeros, or normal numbers."""
    init_std: NonNegativeFloat = 0.1
    """Standard deviation of normal weights at the start."""
    init_rnd_seed: Seed = None
    """Seed of normal weights at the start; None (or -1) draws from the root stream."""
    load_model_from_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Checkpoint of the weights at the start: a path, or a reference such as
    ``"@first.checkpoint"``."""

    use_expected_reinforce_updates: bool = True
    """If true, updates follow the exact gradient of the expected reward. If false, they follow
    REINFORCE with one sampled output per input and no baseline."""
    normalize_by_reward_std: bool = False
    """If true, rewards are divided by their standard deviation under the policy, the mean over
    inputs. The metrics ``reward`` and ``reg objective value`` are then in units of it."""
    reward_std_gradient: Literal["detached", "published"] = "detached"
    """Deviation that ``normalize_by_reward_std`` divides by. ``detached``: each input's about its
    own mean, as a constant. ``published``: about the mean of all inputs, with a gradient through
    the deviation, which has no bound."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Optimizer: SGD without momentum, or Adam."""
    lr: PositiveFloat = 0.1
    """Learning rate of the optimizer."""
    kl_regularization_coeff: NonNegativeFloat = 0.0
    """Coefficient of the KL penalty, in reward per nat."""
    use_forward_kl_reg: bool = False
    """If true, the penalty is KL(reference || policy), otherwise KL(policy || reference)."""
    kl_reg_ref_unif: bool = False
    """If true, the reference is the uniform distribution instead of the policy at the start."""
    load_kl_reg_ref_model_from_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Checkpoint of the reference's weights; None for the weights at the start."""
    sampled_kl: Literal["exact", "published"] = "exact"
    """Penalty of sampled updates: the exact KL, or as published ln(policy / reference) of the drawn
    output, whose gradient is zero in expectation. It is exact with ``use_forward_kl_reg``."""
    logits_temperature: PositiveFloat = 1.0
    """Divisor of the logits before the softmax."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of all numbers."""
    track_output_probs_thresh: NonNegativeInt = 15
    """Largest number of outputs with which the rows hold metrics of single inputs and outputs."""
    target_reward: float = 0.9
    """Expected ground truth reward that ``summary.json`` tells the first update of, as
    ``updates_to_target``."""

    def metric_names(self) -> list[str]:
        """Return the metrics that a score may name."""
        return list(METRICS)

    def needs_preflight(self) -> bool:
        """Return true if a setting or checkpoints need a check."""
        return bool(self.input_files()) or self.setting is not None

    def why_alone(self) -> str | None:
        """Return why this run cannot be trained together with others; None if it can be."""
        if self.use_wandb:
            return "'use_wandb' = True, and Weights & Biases knows one run per process"
        return None

    def vectorize_key(self) -> str:
        """Return the key that runs share which are trained together."""
        shared = {key: value for key, value in self.identity().items() if key not in _MAY_DIFFER}
        return json.dumps([shared, self.kl_regularization_coeff > 0], sort_keys=True)

    def notices(self) -> Iterator[str]:
        """Yield notices on valid keys that the user should know."""
        yield from super().notices()
        if self.score_metric_name in _REWARDS and not self.score_largest:
            yield (
                f"'score_largest' = False: the lowest '{self.score_metric_name}' counts as the "
                "best, as in published plans; set it to true"
            )
        if self.gpu_ids:
            yield "'gpu_ids': log-linear runs are made by the CPU"

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of keys that do not fit together."""
        yield from super().problems()
        if self.setting is not None:
            yield from (problem.below("setting") for problem in self.setting.problems())
            if self.custom_setting_config_path is not None:
                yield Problem("'setting' is given, too; take one of the two out",
                              "custom_setting_config_path",
                              self.custom_setting_config_path)  # fmt: skip
        if self.load_kl_reg_ref_model_from_checkpoint is not None:
            yield from self._reference_problems(self.load_kl_reg_ref_model_from_checkpoint)

    def _reference_problems(self, path: str) -> Iterator[Problem]:
        key = "load_kl_reg_ref_model_from_checkpoint"
        if self.kl_reg_ref_unif:
            yield Problem("'kl_reg_ref_unif' is true; take one of the two out", key, path)
        if self.kl_regularization_coeff == 0:
            yield Problem("'kl_regularization_coeff' is 0, so there is no penalty; raise that, or "
                          "take this out", key, path)  # fmt: skip
