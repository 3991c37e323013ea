"""Trust region policy optimization (Schulman et al. 2015, arXiv 1502.05477) over whole sequences.

Each rollout gives one natural-gradient step, as long as the trust region and a line search allow.
Then the critic is fitted to the returns.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from grue.algorithms.args import TrpoArgs
from grue.algorithms.fisher import Fisher, TokenLogits, gradient, split
from grue.algorithms.optimizers import adamw
from grue.algorithms.policy_gradient import SHARE, PolicyGradient, share_of_second
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import LogitsEvaluation
from grue.policies.distribution import TokenDistribution
from grue.rl.conjugate_gradient import conjugate_gradient
from grue.rl.kl import probability_ratio
from grue.rl.losses import explained_variance, policy_gradient_loss, value_loss
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch

TOKENS_IN_PASS = 256
"""Number of tokens in one pass; sums over passes give the whole, so that memory is that of one
pass."""


class Trpo(PolicyGradient[TrpoArgs]):
    """TRPO: steps of the policy whose mean KL to the policy before stays below ``target_kl``."""

    Args = TrpoArgs
    supports_data_parallel = False

    @property
    def is_fused(self) -> bool:
        """False: losses are computed from logits, because its Fisher products need them."""
        return False

    @classmethod
    def outputs_in_pass(cls, width: int) -> int:
        """Return the number of outputs that have a certain number of tokens together."""
        return max(1, TOKENS_IN_PASS // width)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the critic's optimizer.

        A trunk that is shared with the policy is not trained by it.
        """
        args = self.alg.policy.args
        critic = self.actor_critic.critic
        assert critic is not None, "it needs one"
        named = critic.named_parameters(prefix="critic")
        lr = self.args.learning_rate
        return adamw(named, lr, args.weight_decay, args.optimizer_kwargs, args.optimizer)

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; return metrics."""
        args = self.args
        explained = explained_variance(*map(rollout.counted, (rollout.values, rollout.returns)))
        if args.normalize_advantage:
            rollout, _ = rollout.standardized()
        outputs_in_pass = min(
            self.outputs_in_pass(rollout.response_mask.shape[1]),
            args.micro_batch_size or len(rollout),
        )
        batches = list(rollout.sequential_batches(outputs_in_pass))
        # 1. Where the objective rises.
        ascent, objective, measured = self._ascent(batches, kl_coefficient)
        # 2. The natural gradient: H x = g, with H the Hessian of the mean KL.
        part = rollout.subsample(args.sub_sampling_factor)
        states = list(part.sequential_batches(outputs_in_pass))
        fisher = Fisher(self.logits, states, args.cg_damping)
        direction = conjugate_gradient(fisher, ascent, max_steps=args.cg_max_steps)
        # 3. The longest step along it within the trust region, as its quadratic model has it.
        curvature = float(direction @ fisher(direction))
        found = {"policy_objective": objective, "kl_divergence": 0.0, "is_line_search_success": 0.0}
        if curvature > 0:
            full_step = (2 * args.target_kl / curvature) ** 0.5 * direction
            # 4. As much of it as really stays within, and raises the objective.
            found |= self._line_search(batches, full_step, objective, kl_coefficient)
        # 5. The critic.
        found["value_loss"] = self._fit_critic(rollout, generator)
        found["explained_variance"] = float(explained)
        named = {f"trpo/{name}": value for name, value in found.items()}
        return named | measured

    @property
    def logits(self) -> TokenLogits:
        """Logits of the present policy before the trained tokens."""
        return TokenLogits(self.policy.model, self.actor_critic.temperature)

    @property
    def weights(self) -> list[Tensor]:
        """Parameters of the policy that are trained."""
        return [weight for weight in self.policy.model.parameters() if weight.requires_grad]

    def _evaluated(self, logits: TokenLogits, batch: Minibatch) -> LogitsEvaluation:
        """Return what a policy with these logits says of a minibatch, without the critic."""
        return LogitsEvaluation(
            batch, TokenDistribution(logits(batch)), reference=self.reference_of(batch)
        )

    def _ascent(
        self, batches: Sequence[Minibatch], coefficient: float
    ) -> tuple[Tensor, float, dict[str, float]]:
        """Return [P] the gradient of the objective, the objective, and what was measured."""
        logits, weights, num_tokens = self.logits, self.weights, sum(map(len, batches))
        ascent: Tensor | float = 0.0
        objective: Tensor | float = 0.0
        means, squares = RunningMeans(), torch.zeros(2, device=self.policy.device)
        for batch in batches:
            now, share_of_batch = self._evaluated(logits, batch), len(batch) / num_tokens
            penalty = self.kl_loss(now, coefficient)
            squares = squares + share_of_batch**2 * self._squared_gradients(now, penalty)
            entropy = {"trpo/entropy_loss": self.entropy_loss(now, weight=0.0)}
            means.add(share_of_batch, **entropy, **self.kl_estimates(now))
            # Here, where the ratio is 1, the surrogate has the gradient of the policy gradient.
            loss = policy_gradient_loss(now.log_probs, batch.advantages) + penalty
            ascent = ascent - gradient(share_of_batch * loss, weights)
            gained = (batch.advantages.mean() - penalty).detach()
            objective = objective + share_of_batch * gained.double()
        assert isinstance(ascent, Tensor), "a rollout has tokens"
        means.add(**{SHARE: share_of_second(squares)})
        return ascent, float(objective), means.compute()

    @torch.no_grad()
    def _line_search(
        self, batches: Sequence[Minibatch], full_step: Tensor, objective: float,
        coefficient: float,
    ) -> dict[str, float]:  # fmt: skip
        """Move the policy by the first accepted fraction of the step, or not at all."""
        args, weights = self.args, self.weights
        old = TokenLogits(copy.deepcopy(self.policy.model), self.actor_critic.temperature)
        start = [weight for weight in old.parameters() if weight.requires_grad]
        for number in range(args.line_search_max_iter):
            step = split(args.line_search_shrinking_factor**number * full_step, weights)
            for weight, before, change in zip(weights, start, step, strict=True):
                weight.copy_(before + change)
            new_objective, kl = self._compare(batches, old, coefficient)
            if kl < args.target_kl and new_objective > objective:
                return {"policy_objective": new_objective, "kl_divergence": kl,
                        "is_line_search_success": 1.0}  # fmt: skip
        for weight, before in zip(weights, start, strict=True):
            weight.copy_(before)
        return {}

    def _compare(
        self, batches: Sequence[Minibatch], old: TokenLogits, coefficient: float
    ) -> tuple[float, float]:
        """Return the surrogate objective mean(A rho) minus penalties, and mean KL(new || old)."""
        num_tokens, sums = sum(map(len, batches)), RunningMeans()
        for batch in batches:
            now, before = (self._evaluated(logits, batch) for logits in (self.logits, old))
            ratio = probability_ratio(now.log_probs, before.log_probs)
            surrogate = (batch.advantages * ratio).mean()
            penalty = self.kl_loss(now, coefficient)
            weight = len(batch) / num_tokens
            sums.add(objective=weight * (surrogate - penalty),
                     kl=weight * now.kl_from(before).mean())  # fmt: skip
        found = sums.compute(mean=False)
        return found["objective"], found["kl"]

    def _fit_critic(self, rollout: Rollout, generator: torch.Generator) -> float:
        """Make several passes over the returns; return their mean loss."""
        args, means = self.args, RunningMeans()
        for _ in range(args.n_critic_updates):
            for batch in rollout.minibatches(args.batch_size, generator, self.unit):
                for part in batch.parts(args.micro_batch_size):
                    values = part.counted(self.actor_critic.values(part.sequences))
                    loss = value_loss(values, part.returns, part.values)
                    (part.weight * loss).backward()
                    means.add(part.weight, loss=loss)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        return means.compute()["loss"]
