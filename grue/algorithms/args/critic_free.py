"""Settings of policy gradients without a critic, put together from independent parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from common.config.fit import PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.group_advantages import GroupAdvantageArgs
from grue.algorithms.args.supervised_loss import SupervisedLossArgs
from grue.algorithms.config import ReinforcementAlg
from grue.parts.named_function import NamedIn
from grue.rl.tables import AGGREGATIONS, POLICY_LOSSES
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import WHOLE_OUTPUTS, RolloutSpec

PolicyLoss = Annotated[str, NamedIn(POLICY_LOSSES)]
Aggregation = Annotated[str, NamedIn(AGGREGATIONS)]
Ratio = Literal["token", "sequence", "sequence_product"]


class CriticFreeArgs(GroupAdvantageArgs, SupervisedLossArgs):
    """Policy gradient without a critic, put together from independent parts.

    The parts are an advantage and its scale, a policy loss per token, its aggregation, a KL penalty
    and the treatment of groups whose rewards do not deviate. Each is a key.
    """

    learning_rate: PositiveFloat = 1e-6
    """Learning rate of the optimizer."""
    policy_loss: PolicyLoss = "clipped"
    """Loss of a token: -A log pi (``reinforce``), the surrogate with clipped probability ratios
    (``clipped``), or -min(w, 1 + clip_range_high) A log pi with the ratio w a constant (``cispo``,
    arXiv 2506.13585); or a function of your own, ``"custom:package.module:name"``."""
    ratio: Ratio = "token"
    """Probability ratio of a token: its own; the geometric mean of its response's (``sequence``,
    GSPO); or their product (``sequence_product``, RLOO). ``reinforce`` has none."""
    clip_range: PositiveFloat = 0.2
    """Largest distance of a ratio below 1 before it is clipped."""
    clip_range_high: PositiveFloat | None = None
    """Largest distance of a ratio above 1 before it is clipped; None for ``clip_range``."""
    aggregate: Aggregation = "token_mean"
    """Sum of token losses, which is divided by the number of tokens (``token_mean``), or of outputs
    after a mean in each (``sequence_mean``), or of outputs (``sequence_sum``), or of outputs times
    the longest allowed length (``sequence_sum_norm``); or the mean over inputs of the means of
    their tokens (``prompt_mean``). Numbers are those of a whole optimizer step. Or weights by a
    function of your own, ``"custom:package.module:name"``."""
    overlong_buffer: PositiveInt | None = None
    """Number of tokens before the longest allowed length, over which an output's reward falls by 1
    in equal parts; None for no penalty of long outputs. A default of more tokens than outputs may
    have is left out, such as that of ``dapo``, 4096 of 20480 tokens."""
    n_epochs: PositiveInt = 1
    """Number of passes over a rollout."""
    num_minibatches: PositiveInt = 1
    """Number of optimizer steps in a pass, each on as many of the rollout's inputs."""
    micro_batch_size: PositiveInt | None = None
    """Largest number of outputs computed at once; gradients add up over an optimizer step. It saves
    memory and changes results by rounding alone. None computes all outputs of a step at once."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus."""
    max_grad_norm: PositiveFloat | None = 1.0
    """Largest norm of the gradients, to which they are clipped; None does not clip."""

    @property
    def clip_ranges(self) -> tuple[float, float]:
        """Clip ranges below and above 1."""
        high = self.clip_range if self.clip_range_high is None else self.clip_range_high
        return self.clip_range, high

    @property
    def exact_kl_pushes_own_token(self) -> bool:
        """True for penalties from each token on."""
        return not self.has_baseline

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of whole outputs with their total rewards, without a critic."""
        return replace(
            WHOLE_OUTPUTS,
            samples_per_input=self.num_samples_per_input,
            num_minibatches=self.num_minibatches,
            micro_batch_size=self.micro_batch_size,
            groups=self.group_rules,
            overlong_buffer=self.overlong_buffer,
        )

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield keys of ratios, where the loss has none, or has them clipped above alone."""
        yield from super().unread_keys()
        if self.policy_loss == "reinforce":
            for name in ("ratio", "clip_range", "clip_range_high"):
                yield name, "with 'policy_loss' = 'reinforce', which has no ratio"
        elif self.policy_loss == "cispo" and self.clip_range_high is not None:
            yield "clip_range", "with 'policy_loss' = 'cispo' and 'clip_range_high'"

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of groups of one, scales without groups, and steps without ratios."""
        yield from super().problems()
        if self.judges_rewards and self.overlong_buffer is not None:
            yield Problem("would make right but long outputs wrong, for 'advantage' = "
                          "'right_or_wrong' and 'zero_std_groups' = 'entropy_shaped'; give null",
                          "overlong_buffer", self.overlong_buffer)  # fmt: skip
        if self.clip_range >= 1 and self.policy_loss == "clipped":
            yield Problem("never clips, since ratios are above 0; lower it", "clip_range",
                          self.clip_range)  # fmt: skip
        if self.policy_loss != "reinforce":
            return
        steps = {"n_epochs": self.n_epochs, "num_minibatches": self.num_minibatches}
        for key, value in steps.items():
            if value > 1:
                yield Problem("'reinforce' has no ratio of probabilities, so that later steps on a "
                              "rollout would follow a biased gradient; set it to 1, or give "
                              "'policy_loss' = 'clipped'", key, value)  # fmt: skip

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problems of a penalty that has another name, and of hints that are not read."""
        yield from super().problems_of_alg(alg)
        if self.zero_std_groups == "hint" and alg.model_type == "seq2seq":
            yield Problem("'hint' continues the prompt, which an encoder-decoder model reads apart "
                          "from its output; take a causal model, or another value",
                          "args.zero_std_groups", self.zero_std_groups)  # fmt: skip
        kl = alg.kl_div
        if kl.norm_reward:
            yield Problem("standardises rewards token by token; give 'args.advantage_scale'",
                          "kl_div.norm_reward", True)  # fmt: skip

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Yield the problems of unequal minibatches, too many groups and too long a buffer."""
        yield from super().problems_of_rollouts(alg, env)
        if env.n_envs % self.num_minibatches:
            yield Problem(f"must be a multiple of 'alg.args.num_minibatches' = "
                          f"{self.num_minibatches}", "env.n_envs", env.n_envs)  # fmt: skip
        most = None if self.filter_by_std is None else self.filter_by_std.top_k
        if most is not None and most > env.n_envs:
            yield Problem(f"a rollout has 'env.n_envs' = {env.n_envs} groups; lower it",
                          "alg.args.filter_by_std.top_k", most)  # fmt: skip
        longest = self._too_short_for_buffer(alg, env)
        if longest is not None and not self._has_default_buffer:
            yield Problem(f"outputs have at most {longest} tokens; lower it, or give null for no "
                          "penalty of long outputs", "alg.args.overlong_buffer",
                          self.overlong_buffer)  # fmt: skip

    @property
    def _has_default_buffer(self) -> bool:
        default: int | None = type(self).model_fields["overlong_buffer"].default
        return self.overlong_buffer == default

    def _too_short_for_buffer(self, alg: ReinforcementAlg, env: EnvConfig) -> int | None:
        """Return the longest length of outputs if it is below the buffer; None otherwise."""
        is_encoder_decoder = alg.model_type == "seq2seq"
        settings = alg.policy.args.generation_kwargs
        if self.overlong_buffer is None or (
            settings.max_new_tokens is None and not is_encoder_decoder
        ):  # the latter is told elsewhere
            return None
        longest = settings.most_new_tokens(is_encoder_decoder=is_encoder_decoder)
        longest = min(longest, env.args.max_episode_length)
        return longest if self.overlong_buffer > longest else None

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield the notice on a penalty of long outputs that is left out."""
        yield from super().notices_of_rollouts(alg, env)
        longest = self._too_short_for_buffer(alg, env)
        if longest is not None and self._has_default_buffer:
            yield (
                f"'alg.args.overlong_buffer' = {self.overlong_buffer} is left out: outputs have at "
                f"most {longest} tokens; for a penalty of long ones give a share of that, such as "
                f"{max(longest // 5, 1)}, as the published 4096 are of 20480"
            )
