"""Keys of ``alg`` in reinforcement finetuning, and the base of each algorithm's settings."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Strict, model_validator

from common.config.base import LATER, Config
from common.config.distinct import Distinct
from common.config.fit import NonNegativeInt, PositiveFloat
from common.custom.user_code import CUSTOM, naming
from common.errors import Problem, UserError
from grue.algorithms.kl_config import KlDefaults, KlDivConfig
from grue.models.config import ModelType, unnamed
from grue.parts.custom import at_id
from grue.policies.config import AnyPolicy, MaskablePolicyArgs
from grue.policies.generation_config import generation_problems
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import RolloutSpec

Schedule = Literal["constant", "linear", "cosine"]
Compatibility = Literal[
    "rl4lms",
    "minibatches_of_tokens",
    "no_reward_when_cut",
    "reference_without_temperature",
    "frozen_mask",
    "masks_not_normalized",
    "stringify_references",
]


def notices_of_unread(
    config: Config, key: str, unread: Iterable[tuple[str, str]], *, otherwise: str = ""
) -> Iterator[str]:
    """Yield a notice on each unread key, with the reason, whose value is not the default.

    ``key`` is that of ``config``, and ``otherwise`` what may be done instead of dropping the keys.
    """
    for name, why in unread:
        given = getattr(config, name)
        if given != type(config).model_fields[name].get_default(call_default_factory=True):
            yield str(Problem(f"has no effect {why}; drop it{otherwise}", f"{key}.{name}", given))


class AlgorithmArgs(Config):
    """Base of every algorithm's settings, the keys of ``alg.args``, which describe the algorithm.

    A plan is read and checked by them alone, without the class that trains (see
    `grue.algorithms.algorithm.Algorithm`), which may import torch. ``problems_of_...`` and
    ``notices_of_...`` of a built-in algorithm concern its own updates, so they are not called for a
    user's algorithm with its settings. ``problems`` concern the settings alone, and are always
    called.
    """

    uses_vocab_mask: ClassVar[bool] = False
    """If true, the algorithm needs a policy with a vocabulary mask."""
    single_process_fp32: ClassVar[bool] = False
    """True if the algorithm supports only one process and float32."""
    kl_div_defaults: ClassVar[KlDefaults | None] = None
    """Defaults of ``kl_div``; None if its keys must be given."""

    learning_rate: PositiveFloat
    """Learning rate of the optimizer."""
    learning_rate_schedule: Annotated[Schedule, LATER] = "constant"
    """Learning rate of the i-th of n iterations, from 0: ``learning_rate`` (``constant``), times 1
    - i / n (``linear``), or times (1 + cos(pi i / n)) / 2 (``cosine``). With
    ``train_evaluation.max_samples`` the share of outputs drawn takes the place of i / n where it is
    larger."""
    warmup_iterations: Annotated[NonNegativeInt, LATER] = 0
    """Number w of first iterations in which the learning rate is smaller, by the factor (i + 1) /
    (w + 1) in the i-th, from 0."""

    recompute_log_probs: Annotated[bool | None, LATER] = None
    """If true, a pass over whole outputs gives the log-probabilities by the policy that drew them.
    If false, they are kept while outputs are drawn, which is faster. None keeps them in float32,
    and makes the pass in half width, where both differ by too much. With dropout the pass is always
    made."""

    @property
    def exact_kl_pushes_own_token(self) -> bool:
        """True if an exact KL in the reward has the drawn token's estimate in its own advantage."""
        return True

    @abstractmethod
    def rollout_spec(self) -> RolloutSpec:
        """Return the rollouts that the algorithm needs."""

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the names of keys that other keys leave without effect, with these others."""
        yield from ()

    def notices(self) -> Iterator[str]:
        """Yield notices, including those on unread keys whose values are not the defaults."""
        yield from super().notices()
        yield from notices_of_unread(self, "alg.args", self.unread_keys())

    def scheduled_learning_rate(self, iteration: int, progress: float) -> float | None:
        """Return the learning rate of an iteration, from 0; None keeps the optimizer's own.

        ``progress`` is the share of the run that is done before it, between 0 and 1.
        """
        if self.learning_rate_schedule == "constant" and not self.warmup_iterations:
            return None
        factor = {
            "constant": 1.0,
            "linear": 1 - progress,
            "cosine": (1 + math.cos(math.pi * progress)) / 2,
        }[self.learning_rate_schedule]
        if iteration < self.warmup_iterations:
            factor *= (iteration + 1) / (self.warmup_iterations + 1)
        return self.learning_rate * factor

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problems of ``alg.kl_div`` and ``alg.policy`` with these settings."""
        yield from ()

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Yield the problems of the rollouts' sizes with these settings, with whole keys."""
        yield from ()

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield notices on valid settings that the user should know: here of the penalty."""
        kl = alg.kl_div
        if self.recompute_log_probs is False and kl.of_reward == "full":
            yield str(Problem("has no effect with the exact KL in rewards, which needs that pass; "
                              "drop it", "alg.args.recompute_log_probs", False))  # fmt: skip
        if not kl.coeff:
            return
        analytic = "'alg.kl_div.analytic_kl_reward'"
        drop = f"drop {analytic} and " if kl.analytic_kl_reward else ""
        if kl.placement == "loss":
            if kl.of_loss == "k1":
                yield (
                    "'alg.kl_div.estimator' = 'k1' in the loss: its gradient is zero in "
                    "expectation while the policy is the one that drew the tokens, so it adds "
                    f"noise alone; give 'k2', 'k3' or 'full', or {drop}give placement = 'reward'"
                )
        elif kl.of_reward in ("k2", "k3"):
            yield (
                f"'alg.kl_div.estimator' = '{kl.of_reward}' in the reward: its gradient is not "
                "that of the KL, even in expectation; give 'k1', or placement = 'loss'"
            )
        elif kl.of_reward == "full" and not self.exact_kl_pushes_own_token:
            given = f"{analytic} = true" if drop else "'alg.kl_div.estimator' = 'full'"
            yield (
                f"{given}, the exact KL in the reward of '{alg.id}': a token's is the same "
                "whatever is drawn, so that it pushes earlier tokens and not its own; "
                f"{drop}give 'alg.kl_div.estimator' = 'k1', or give placement = 'loss'"
            )


class ReinforcementAlg(Config):
    """An algorithm with its settings, the penalty for leaving the initial model, and the policy.

    The keys of one algorithm are these with its own ``id`` and ``args``.
    """

    kl_div: KlDivConfig
    """Penalty for the distance from the initial model."""
    policy: AnyPolicy
    """The model and its critic."""
    compatibility: Annotated[tuple[Compatibility, ...], Strict(False), Distinct()] = ()
    """Behaviours of RL4LMs to reproduce, by name, or all as ``rl4lms``: minibatches of single
    tokens of any output; no reward for outputs whose generation ends before the episode could;
    sampling temperature in the policy's log-probabilities but not in the reference's; for NLPO a
    mask model that is never refreshed, and masked probabilities that do not sum to one; and
    ``stringify_references`` for the reward and all metrics that have this key and do not give
    it."""
    id: str
    """Id of the algorithm."""
    args: AlgorithmArgs
    """Settings of the algorithm."""

    @model_validator(mode="after")
    def _says_what_rollouts_it_needs(self) -> Self:
        """Refuse a user's algorithm whose settings define no rollouts."""
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
        """Rollouts that the algorithm needs."""
        return self.args.rollout_spec()

    @property
    def is_custom(self) -> bool:
        """True if the algorithm is a user's own, whose updates may have another form."""
        return self.id.startswith(CUSTOM)

    @property
    def model_type(self) -> ModelType:
        """Architecture of the model: causal, or encoder-decoder."""
        return self.policy.model_type

    def reproduces_rl4lms(self, name: Compatibility) -> bool:
        """Return whether a behaviour of RL4LMs is asked for."""
        return name in self.compatibility or "rl4lms" in self.compatibility

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the parts' keys, and of keys that do not fit each other."""
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
        """Yield the problems of a policy that does not fit this algorithm or its architecture."""
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
