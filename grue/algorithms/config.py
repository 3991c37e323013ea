"""Keys of ``alg``: the algorithm, its settings, and the model that it finetunes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, SerializeAsAny, Strict, Tag, model_validator

from common.config.base import Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue import algorithms
from grue.algorithms.args import (
    A2cArgs,
    HumanPreferencesPpoArgs,
    NlpoArgs,
    PpoArgs,
    ReinforceArgs,
    TrpoArgs,
)
from grue.models.config import ModelName, ModelOptions, ModelType, unnamed
from grue.parts.custom import OrCustom
from grue.policies.config import AnyPolicy, MaskablePolicyArgs
from grue.policies.generation_config import GenerationConfig
from grue.runs.compatibility import OfSupervised, joined_as_published

TRAINER_BATCH = 8
"""Number of examples in a batch of the Trainer, if none is given."""


class SupervisedAlg(Config):
    """Maximum likelihood of the references."""

    id: Annotated[str, Field(pattern="supervised")] = "supervised"
    """Id of the algorithm: ``supervised``, to which published files may add."""
    model_type: ModelType
    """Architecture of the model: causal, or encoder-decoder."""
    model_name: ModelName
    """The model to finetune."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer, by their published names."""
    generation_kwargs: GenerationConfig | None = None
    """Generation settings of outputs for training inputs in evaluations; None for those of
    ``train_evaluation``."""
    join_with_blank: bool = True
    """If true, a causal model's prompt and reference are joined by a blank, unless one has white
    space there. Published runs joined them without, see ``compatibility``."""
    append_eos: bool = False
    """If true, a causal model learns to end its output; published ones do not."""
    mask_prompt: bool = False
    """If true, a causal model learns the reference alone; published ones learn the prompt too."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """Initial weights, type and adapters of the model."""
    compatibility: OfSupervised = ()
    """Behaviours of RL4LMs to reproduce, by name or as ``rl4lms``: ``stringify_references`` for all
    metrics that have this key and do not give it; ``references_without_blank`` for prompts and
    references of causal models that are joined without a blank, unless ``join_with_blank`` is
    given."""

    @model_validator(mode="before")
    @classmethod
    def _published_rows(cls, values: Any) -> Any:
        return joined_as_published(values)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a missing model, and of impossible generation settings."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name", below="alg.")
        if self.generation_kwargs is not None:
            yield from of_generation(self.generation_kwargs, self.model_type, "generation_kwargs")


class AdaptiveKlConfig(Config):
    """Controller of the coefficient by the KL of whole outputs (arXiv 1909.08593).

    After each rollout the coefficient is multiplied by 1 + e n / horizon, with n outputs and e = KL
    / target - 1 clipped to [-0.2, 0.2].
    """

    target: PositiveFloat
    """Target of the mean KL of an output, summed over its tokens, in nats."""
    horizon: PositiveInt = 10_000
    """Time constant in outputs; the coefficient changes more slowly for larger values."""


class KlDivConfig(Config):
    """Penalty for the distance from the initial model, per token of an output."""

    coeff: NonNegativeFloat
    """Initial coefficient, in reward per nat."""
    placement: Literal["reward", "loss"] = "reward"
    """Place of the penalty: the reward of each token, or the loss, where it is the exact KL of the
    distributions over the vocabulary."""
    analytic_kl_reward: bool = False
    """If true, a token's KL, in rewards and for ``target_kl``, is that of the distributions over
    the vocabulary, instead of the sampled token's estimate."""
    target_kl: PositiveFloat | None = None
    """Target of the KL per token, in nats, to which the coefficient adapts; None keeps it
    constant."""
    adaptive_kl: AdaptiveKlConfig | None = None
    """Controller by the KL of whole outputs instead; None for ``target_kl``."""
    norm_reward: bool = False
    """If true, the task's rewards of a rollout's tokens are standardised before the penalty is
    added; equal ones become 0. The published code standardises the sum, which magnifies the penalty
    where rewards do not deviate."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of two targets."""
        yield from super().problems()
        if self.target_kl is not None and self.adaptive_kl is not None:
            yield Problem("stands beside 'adaptive_kl'; give one of them", "target_kl",
                          self.target_kl)  # fmt: skip


Compatibility = Literal[
    "rl4lms",
    "minibatches_of_tokens",
    "no_reward_when_cut",
    "reference_without_temperature",
    "frozen_mask",
    "masks_not_normalized",
    "stringify_references",
]


class ReinforcementAlg(Config):
    """Keys that all reinforcement algorithms have."""

    masks: ClassVar[bool | None] = False
    """True if the algorithm's policies have a vocabulary mask; None if they may have one."""
    plain: ClassVar[bool] = False
    """True if the algorithm supports only one process and float32."""

    if TYPE_CHECKING:  # what every subclass has, each of its own type and at its own place
        id: str
        args: Any

    kl_div: KlDivConfig
    """Penalty for the distance from the initial model."""
    policy: AnyPolicy
    """The model and its critic."""
    compatibility: Annotated[tuple[Compatibility, ...], Strict(False)] = ()
    """Behaviours of RL4LMs to reproduce, by name, or all as ``rl4lms``: minibatches of single
    tokens of any output; no reward for outputs whose generation ends before the episode could;
    sampling temperature in the policy's log-probabilities but not in the reference's; for NLPO a
    mask model that is never refreshed, and masked probabilities that do not sum to one; and
    ``stringify_references`` for the reward and all metrics that have this key and do not give
    it."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a missing model or mask size, and of impossible generation."""
        yield from super().problems()
        args = self.policy.args
        yield from (problem.below("kl_div") for problem in self.kl_div.problems())
        yield from unnamed(args.model_name, "policy.args.model_name", below="alg.")
        yield from (problem.below("policy") for problem in self.policy.problems())
        yield from (problem.below("policy.args") for problem in args.problems())
        if self.plain and self.policy.mixed_precision != "no":
            yield Problem("'trpo' computes in float32; drop it", "policy.mixed_precision",
                          self.policy.mixed_precision)  # fmt: skip
        has_mask = isinstance(args, MaskablePolicyArgs)
        if self.masks is not None and has_mask != self.masks:
            fix = "add 'maskable_' to its front" if self.masks else "only 'nlpo' refreshes a mask"
            kind = "needs a policy with a mask" if self.masks else "has no use for a mask"
            yield Problem(f"'{self.id}' {kind}; {fix}",
                          "policy.id", self.policy.id)  # fmt: skip
        for name in ("query_prefix", "query_suffix"):
            if getattr(args, name) and self.model_type == "seq2seq":
                yield Problem("is for causal models; an encoder reads the task's 'prompt_prefix' "
                              "and 'prompt_suffix'", f"policy.args.{name}",
                              getattr(args, name))  # fmt: skip
        key = "policy.args.generation_kwargs"
        yield from of_generation(args.generation_kwargs, self.model_type, key)

    @property
    def model_type(self) -> ModelType:
        """Architecture of the model: causal, or encoder-decoder."""
        return self.policy.model_type

    @property
    def samples_per_input(self) -> int:
        """Number of outputs, K, of each input in a rollout."""
        return int(getattr(self.args, "num_samples_per_input", 1))

    def behaves_as_published(self, name: Compatibility) -> bool:
        """Return whether a behaviour of RL4LMs is to be reproduced."""
        return name in self.compatibility or "rl4lms" in self.compatibility


class PpoAlg(ReinforcementAlg):
    """Proximal policy optimization."""

    id: Literal["ppo", "ppo_kl"]
    """Id of the algorithm; ``ppo_kl`` is the published name of PPO with ``analytic_kl_grad``."""
    args: PpoArgs = Field(default_factory=PpoArgs)
    """Settings of the algorithm."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of two forms of the penalty that exclude each other."""
        yield from super().problems()
        if self.args.analytic_kl_grad:
            for key, value, unusual in (
                ("norm_reward", self.kl_div.norm_reward, True),
                ("placement", self.kl_div.placement, "loss"),
            ):
                if value == unusual:
                    yield Problem("does not go with 'alg.args.analytic_kl_grad'; drop one of them",
                                  f"kl_div.{key}", value)  # fmt: skip


class NlpoAlg(PpoAlg):
    """Natural-language policy optimization."""

    masks: ClassVar[bool | None] = True
    id: Literal["nlpo"]  # type: ignore[assignment]  # PPO's are other names
    """Id of the algorithm."""
    args: NlpoArgs = Field(default_factory=NlpoArgs)
    """Settings of the algorithm."""


class HumanPreferencesPpoAlg(ReinforcementAlg):
    """PPO as in "Fine-Tuning Language Models from Human Preferences"."""

    id: Literal["ppo_human_preferences"]
    """Id of the algorithm."""
    args: HumanPreferencesPpoArgs = Field(default_factory=HumanPreferencesPpoArgs)
    """Settings of the algorithm."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of forms of the penalty that it does not support."""
        yield from super().problems()
        for key, value, usual, fix in (
            ("placement", self.kl_div.placement, "reward", "set it to 'reward'"),
            ("analytic_kl_reward", self.kl_div.analytic_kl_reward, False, "drop it"),
            ("norm_reward", self.kl_div.norm_reward, False, "use 'alg.args.whiten_rewards'"),
        ):
            if value != usual:
                yield Problem(f"'{self.id}' has the KL of the tokens drawn in the rewards that it "
                              f"whitens; {fix}", f"kl_div.{key}", value)  # fmt: skip


class A2cAlg(ReinforcementAlg):
    """Advantage actor-critic."""

    id: Literal["a2c"]
    """Id of the algorithm."""
    args: A2cArgs = Field(default_factory=A2cArgs)
    """Settings of the algorithm."""


class TrpoAlg(ReinforcementAlg):
    """Trust region policy optimization."""

    plain: ClassVar[bool] = True
    id: Literal["trpo"]
    """Id of the algorithm."""
    args: TrpoArgs = Field(default_factory=TrpoArgs)
    """Settings of the algorithm."""


class ReinforceAlg(ReinforcementAlg):
    """REINFORCE with a baseline."""

    id: Literal["reinforce"]
    """Id of the algorithm."""
    args: ReinforceArgs = Field(default_factory=ReinforceArgs)
    """Settings of the algorithm."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems, including those of the settings."""
        yield from super().problems()
        yield from (problem.below("args") for problem in self.args.problems())
        if self.kl_div.norm_reward:
            yield Problem("'reinforce' credits whole outputs: rewards that are centred token by "
                          "token would grow with an output's length; drop it, or take the baseline "
                          "'group_standardized'", "kl_div.norm_reward", True)  # fmt: skip
        if self.kl_div.analytic_kl_reward:
            yield Problem("'reinforce' credits whole outputs, so that a token's exact KL would "
                          "push nothing; give placement = 'loss' instead",
                          "kl_div.analytic_kl_reward", True)  # fmt: skip
        if self.args.log_prob_of == "sequence" and self.model_type == "seq2seq":
            yield Problem("is for causal models, whose prompts and outputs are one sequence; drop "
                          "it", "args.log_prob_of", "sequence")  # fmt: skip
        if self.args.dropout and self.policy.gradient_checkpointing:
            yield Problem("does not go with 'policy.gradient_checkpointing', under which nothing "
                          "can be sampled; drop one of them", "args.dropout", True)  # fmt: skip


class CustomAlg(ReinforcementAlg):
    """A user's own algorithm, see `grue.parts.custom`."""

    masks: ClassVar[bool | None] = None
    args: Any
    """Settings of the algorithm."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems, including those of the settings and of a rollout without size."""
        yield from super().problems()
        yield from (problem.below("args") for problem in self.args.problems())
        name = self.id
        if not algorithms.find(name).whole_outputs and not hasattr(self.args, "n_steps"):
            yield Problem("the class needs the key 'n_steps' in its Args, the tokens per "
                          "environment in a rollout, or whole_outputs = True",
                          "id", name)  # fmt: skip


def _which(alg: Any) -> str:
    """Return the tag of an algorithm's keys.

    The published rule searches "supervised" in the id.
    """
    name = str(alg.get("id", "") if isinstance(alg, dict) else getattr(alg, "id", ""))
    if "supervised" in name:
        return "supervised"
    return "ppo" if name == "ppo_kl" else name


AnyAlg = Annotated[
    Annotated[SupervisedAlg, Tag("supervised")]
    | Annotated[PpoAlg, Tag("ppo")]
    | Annotated[NlpoAlg, Tag("nlpo")]
    | Annotated[HumanPreferencesPpoAlg, Tag("ppo_human_preferences")]
    | Annotated[A2cAlg, Tag("a2c")]
    | Annotated[TrpoAlg, Tag("trpo")]
    | Annotated[ReinforceAlg, Tag("reinforce")],
    Discriminator(_which),
    OrCustom(CustomAlg, algorithms.find),
    SerializeAsAny(),
]


def of_generation(settings: GenerationConfig, model_type: ModelType, key: str) -> Iterator[Problem]:
    """Yield the problems of the generation settings, at ``key``, for a model of this type."""
    yield from (problem.below(key) for problem in settings.problems())
    if model_type == "causal" and settings.max_new_tokens is None:
        yield Problem("a causal model needs it", f"{key}.max_new_tokens")


def of_batches(training_args: Mapping[str, Any], num_ranks: int) -> Iterator[Problem]:
    """Yield the problem of batches of the Trainer that leave ranks without an example."""
    key = "per_device_train_batch_size"
    size = training_args.get(key, TRAINER_BATCH)
    if isinstance(size, int) and size < num_ranks:
        yield Problem(f"is the batch of all processes, and less than 'gpus_per_run' = {num_ranks}; "
                      "raise it", f"alg.training_args.{key}", size)  # fmt: skip
