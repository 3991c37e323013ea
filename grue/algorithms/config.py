"""The keys of ``alg`` in reinforcement finetuning, and what each algorithm's settings say of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Strict, model_validator

from common.config.base import Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.custom.user_code import CUSTOM, naming
from common.errors import Problem, UserError
from grue.models.config import ModelType, unnamed
from grue.parts.custom import at_id
from grue.policies.config import AnyPolicy, MaskablePolicyArgs
from grue.policies.generation_config import generation_problems
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import RolloutSpec


class AdaptiveKlConfig(Config):
    """How the coefficient follows the KL of whole outputs (arXiv 1909.08593).

    After each rollout it is multiplied by 1 + e n / horizon with n outputs and
    e = KL / target - 1, at least -0.2 and at most 0.2.
    """

    target: PositiveFloat
    """Mean KL of an output, the sum over its tokens, in nats."""
    horizon: PositiveInt = 10_000
    """The larger, the slower the coefficient moves."""


class KlDivConfig(Config):
    """The penalty for leaving the initial model, per token of an output."""

    coeff: NonNegativeFloat
    """Initial coefficient, in reward per nat."""
    placement: Literal["reward", "loss"] = "reward"
    """Where the penalty stands: in the reward of each token, or in the loss, there as the exact
    divergence of the distributions over the vocabulary."""
    analytic_kl_reward: bool = False
    """Whether a token's divergence, in rewards and for ``target_kl``, is that of the distributions
    over the vocabulary, instead of its estimate by the token drawn."""
    target_kl: PositiveFloat | None = None
    """KL per token, in nats, that the coefficient is adapted to; None keeps it constant."""
    adaptive_kl: AdaptiveKlConfig | None = None
    """Adapts the coefficient to the KL of whole outputs instead; None for ``target_kl``."""
    norm_reward: bool = False
    """Whether the task's rewards of a rollout's tokens are brought to mean 0 and standard deviation
    1 before the penalty is added; equal ones become 0. The published code standardises their sum,
    so that where rewards do not deviate the penalty is blown up."""

    def problems(self) -> Iterator[Problem]:
        """Yield two targets."""
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


class AlgorithmArgs(Config):
    """Base of every algorithm's settings, the keys of ``alg.args``: they describe the algorithm.

    A plan is read and checked by them alone, without the class that trains by them (see
    `grue.algorithms.algorithm.Algorithm`), which may import torch. What a built-in algorithm says
    in ``problems_of_...`` and ``notices_of_...`` is about its own updates, so a custom one that
    takes its settings is not asked; ``problems`` are those of the settings alone, and of all.
    """

    uses_vocab_mask: ClassVar[bool] = False
    """Whether the algorithm needs a policy with a vocabulary mask."""
    single_process_fp32: ClassVar[bool] = False
    """Whether the algorithm is for one process and float32 alone."""

    learning_rate: PositiveFloat
    """Step size."""

    @abstractmethod
    def rollout_spec(self) -> RolloutSpec:
        """Return what the algorithm needs of rollouts."""

    def scheduled_learning_rate(self, progress: float) -> float | None:
        """Return the step size after ``progress`` of the run's iterations, from 0 to 1.

        None leaves it as the optimizer has it.
        """
        return None

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield what of ``alg.kl_div`` and ``alg.policy`` does not go with these settings."""
        yield from ()

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Yield what of the rollouts' sizes does not go with these settings, by whole keys."""
        yield from ()

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield what the user should know of the rollouts' sizes, though nothing is wrong."""
        yield from ()


class ReinforcementAlg(Config):
    """An algorithm with its settings, the penalty for leaving the initial model, and the policy.

    The keys of one algorithm are these with its own ``id`` and ``args``.
    """

    kl_div: KlDivConfig
    """The penalty for leaving the initial model."""
    policy: AnyPolicy
    """The model and its critic."""
    compatibility: Annotated[tuple[Compatibility, ...], Strict(False)] = ()
    """Behaviours of RL4LMs to bring back, by name, or all as ``rl4lms``: minibatches of single
    tokens of any output; no reward for outputs whose generation ends before the episode could;
    sampling temperature in the policy's log-probabilities but not in the reference's; and for NLPO
    a mask model that is never refreshed, and masked probabilities that do not sum to one; and
    ``stringify_references`` for the reward and all metrics that have this key and do not give
    it."""
    id: str
    """Which algorithm."""
    args: AlgorithmArgs
    """Its settings."""

    @model_validator(mode="after")
    def _says_what_rollouts_it_needs(self) -> Self:
        """Refuse a custom algorithm whose settings do not say it."""
        try:
            with naming(self.id):
                spec = self.args.rollout_spec()
            if not isinstance(spec, RolloutSpec):
                given = type(spec).__name__
                raise UserError(f"'{self.id}': rollout_spec() of its Args returns a {given}; "
                                "return a RolloutSpec")  # fmt: skip
        except UserError as error:
            raise at_id(self.id, error) from error
        return self

    @property
    def rollout_spec(self) -> RolloutSpec:
        """What the algorithm needs of rollouts."""
        return self.args.rollout_spec()

    @property
    def is_custom(self) -> bool:
        """Whether the algorithm is outside the project, where updates may be of another form."""
        return self.id.startswith(CUSTOM)

    @property
    def model_type(self) -> ModelType:
        """Architecture of the model: causal, or encoder-decoder."""
        return self.policy.model_type

    def reproduces_rl4lms(self, name: Compatibility) -> bool:
        """Return whether a behaviour of RL4LMs is asked for."""
        return name in self.compatibility or "rl4lms" in self.compatibility

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their keys, and with each other's."""
        yield from super().problems()
        own, of_policy = self.policy, self.policy.args
        yield from (problem.below("kl_div") for problem in self.kl_div.problems())
        yield from unnamed(of_policy.model_name, "policy.args.model_name", below="alg.")
        yield from (problem.below("policy") for problem in own.problems())
        yield from (problem.below("policy.args") for problem in of_policy.problems())
        yield from (problem.below("args") for problem in self.args.problems())
        yield from self._problems_of_policy()
        if not self.is_custom:
            yield from self.args.problems_of_alg(self)
        key = "policy.args.generation_kwargs"
        yield from generation_problems(of_policy.generation_kwargs, self.model_type, key)

    def _problems_of_policy(self) -> Iterator[Problem]:
        """Yield what of the policy is not for this algorithm, or not for its type of model."""
        if self.args.single_process_fp32 and self.policy.mixed_precision != "no":
            yield Problem(f"'{self.id}' computes in float32; drop it", "policy.mixed_precision",
                          self.policy.mixed_precision)  # fmt: skip
        has_mask = isinstance(self.policy.args, MaskablePolicyArgs)
        if self.args.uses_vocab_mask and not has_mask:
            yield Problem(f"'{self.id}' needs a policy with a mask; add 'maskable_' to its front",
                          "policy.id", self.policy.id)  # fmt: skip
        elif has_mask and not self.args.uses_vocab_mask and not self.is_custom:
            yield Problem(f"'{self.id}' has no use for a mask; only 'nlpo' refreshes a mask",
                          "policy.id", self.policy.id)  # fmt: skip
        texts = {"query_prefix": self.policy.args.query_prefix,
                 "query_suffix": self.policy.args.query_suffix}  # fmt: skip
        for name, text in texts.items():
            if text and self.model_type == "seq2seq":
                yield Problem("is for causal models; an encoder reads the task's 'prompt_prefix' "
                              "and 'prompt_suffix'", f"policy.args.{name}", text)  # fmt: skip
