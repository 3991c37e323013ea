"""Published algorithms without a critic: GRPO, Dr. GRPO, DAPO, RLOO, REINFORCE++ and GSPO.

Each is a row of defaults of the keys of `grue.algorithms.args.critic_free.CriticFreeArgs`.
"""

from __future__ import annotations

from typing import ClassVar

from common.config.fit import PositiveFloat, PositiveInt
from grue.algorithms.args.critic_free import Aggregation, CriticFreeArgs, PolicyLoss, Ratio
from grue.algorithms.args.group_advantages import Baseline, Scale, ZeroStdGroups
from grue.algorithms.kl_config import KlDefaults


class GrpoArgs(CriticFreeArgs):
    """Group relative policy optimization, GRPO (arXiv 2402.03300).

    Learning rate, 64 outputs, the KL's coefficient and one step per rollout are those of the
    paper's section 4.2, which does not say the clip range.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.04, "placement": "loss", "estimator": "k3"}

    advantage_scale: Scale = "group_std"
    aggregate: Aggregation = "sequence_mean"
    num_samples_per_input: PositiveInt = 64


class DrGrpoArgs(CriticFreeArgs):
    """GRPO without its division by lengths and by the std, Dr. GRPO (arXiv 2503.20783).

    Its public recipe draws 8 outputs of 128 inputs and makes 8 steps per rollout, which is
    ``num_minibatches`` = 8.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.0}

    aggregate: Aggregation = "sequence_sum_norm"


class DapoArgs(CriticFreeArgs):
    """Decoupled clip and dynamic sampling policy optimization, DAPO (arXiv 2503.14476).

    Its public recipe (verl) draws 512 inputs, warms up for 10 iterations (``warmup_iterations``),
    and has a weight decay of 0.1.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.0}

    advantage_scale: Scale = "group_std"
    clip_range_high: PositiveFloat | None = 0.28
    zero_std_groups: ZeroStdGroups = "resample"
    overlong_buffer: PositiveInt | None = 4096
    num_samples_per_input: PositiveInt = 16
    num_minibatches: PositiveInt = 16


class RlooArgs(CriticFreeArgs):
    """REINFORCE with leave-one-out baselines, RLOO (arXiv 2402.14740).

    Where a rollout is used for several steps, ``policy_loss`` is ``clipped``. The paper has 2 and 4
    outputs; learning rate and the KL's coefficient are those of TRL.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {
        "coeff": 0.05,
        "placement": "reward",
        "estimator": "k1",
    }

    advantage: Baseline = "leave_one_out"
    policy_loss: PolicyLoss = "reinforce"
    ratio: Ratio = "sequence_product"
    aggregate: Aggregation = "sequence_sum"
    num_samples_per_input: PositiveInt = 4


class ReinforcePlusPlusArgs(CriticFreeArgs):
    """REINFORCE++: advantages are standardised over the whole rollout (arXiv 2501.03262).

    Learning rate and the number of outputs are those of its public recipe (OpenRLHF), which makes 8
    steps per rollout (``num_minibatches``), and whose KL's coefficients vary: 0.01 by default, 1e-4
    in the recipe.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {
        "coeff": 0.01,
        "placement": "reward",
        "estimator": "k1",
    }

    learning_rate: PositiveFloat = 5e-7
    advantage: Baseline = "none"
    advantage_scale: Scale = "unit"
    num_samples_per_input: PositiveInt = 1


class ReinforcePlusPlusBaselineArgs(CriticFreeArgs):
    """REINFORCE++ with the mean of the group as baseline (arXiv 2501.03262).

    Learning rate, 8 outputs and ``k2`` are those of its public recipe (OpenRLHF); the KL's
    coefficient is the default there, and from 1e-5 to 1e-3 in recipes.
    """

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.01, "placement": "loss", "estimator": "k2"}

    learning_rate: PositiveFloat = 5e-7
    advantage_scale: Scale = "unit"


class GspoArgs(CriticFreeArgs):
    """Group sequence policy optimization, GSPO: ratios of whole outputs (arXiv 2507.18071)."""

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.0}

    advantage_scale: Scale = "group_std"
    ratio: Ratio = "sequence"
    clip_range: PositiveFloat = 3e-4
    clip_range_high: PositiveFloat | None = 4e-4
    aggregate: Aggregation = "sequence_mean"
    num_minibatches: PositiveInt = 4
