"""What is known of sampled outputs and their tokens, and its minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common import ranks
from grue.policies.policy import Policy, Tokens
from grue.policies.sequences import Sequences

_EPSILON = 1e-8
"""Added to standard deviations, as in the published code."""

Unit = Literal["outputs", "tokens"]
"""What minibatches are drawn of: whole outputs, or single tokens of any output."""


@dataclass(frozen=True)
class Rollout:
    """N outputs of at most T tokens; outputs of one input stand beside each other.

    Everything [N, T] is of the state before, or the choice of, each token; nothing outside `mask`
    has a meaning.
    """

    prompts: Sequence[Tokens]
    outputs: Sequence[Tokens]
    mask: Tensor
    """[N, T] the tokens."""
    used: Tensor
    """[N, T] the tokens that updates use: all but those that came too much."""
    log_probs: Tensor
    """[N, T] of the policy that drew the tokens, at its temperature and within its mask."""
    ref_log_probs: Tensor
    """[N, T] of the reference."""
    kl: Tensor
    """[N, T] estimates of KL(policy || reference), in nats; of the policy without a mask."""
    values: Tensor
    """[N, T] the critic's."""
    task_rewards: Tensor
    """[N, T] of the task alone, as a rule at the last token."""
    rewards: Tensor
    """[N, T] with the penalty for leaving the reference."""
    advantages: Tensor
    """[N, T]"""
    penalty_advantages: Tensor
    """[N, T] the part of the advantages that the penalty alone makes."""
    returns: Tensor
    """[N, T] what the critic should have said."""
    allowed: Tensor | None = None
    """[N, T, ceil(V / 8)] the tokens that could come, packed; None without a mask."""
    reward_stds: Tensor | None = None
    """[N] standard deviations of the task's rewards by the reward itself; None if not asked for."""

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def num_tokens(self) -> int:
        """Tokens that updates use."""
        return int(self.used.sum())

    def minibatch(self, rows: Tensor, select: Tensor, policy: Policy) -> Minibatch:
        """Outputs at ``rows`` [n], of whose tokens those in ``select`` [n, T] count."""
        where = rows.tolist()
        sequences = policy.sequences(
            [self.prompts[row] for row in where], [self.outputs[row] for row in where]
        )
        width = sequences.outputs.ids.shape[1]
        select = select[:, :width]

        def chosen(values: Tensor) -> Tensor:
            return values[rows, :width][select]

        return Minibatch(
            sequences=sequences,
            select=select,
            tokens=sequences.outputs.ids[select],
            log_probs=chosen(self.log_probs),
            ref_log_probs=chosen(self.ref_log_probs),
            values=chosen(self.values),
            returns=chosen(self.returns),
            advantages=chosen(self.advantages),
            penalty_advantages=chosen(self.penalty_advantages),
            allowed=None if self.allowed is None else self.allowed[rows, :width][select],
        )

    def minibatches(
        self, size: int, policy: Policy, generator: torch.Generator, unit: Unit = "outputs"
    ) -> Iterator[Minibatch]:
        """One pass over all used tokens in a new random order, about ``size`` in each minibatch.

        Whole outputs are put together until their first tokens pass a multiple of ``size``; as
        single tokens, the published way, exactly ``size`` come from all over the rollout.
        """
        device = self.used.device
        if unit == "outputs":
            kept = self.used.any(-1).nonzero().squeeze(-1)
            order = kept[torch.randperm(len(kept), generator=generator).to(device)]
            lengths = self.used[order].sum(-1)
            group = (lengths.cumsum(0) - lengths) // size
            for number in group.unique_consecutive().tolist():
                rows = order[group == number]
                yield self.minibatch(rows, self.used[rows], policy)
            return
        flat = self.used.flatten().nonzero().squeeze(-1)
        for part in flat[torch.randperm(len(flat), generator=generator).to(device)].split(size):
            chosen = torch.zeros_like(self.used)
            chosen.view(-1)[part] = True
            rows = chosen.any(-1).nonzero().squeeze(-1)
            yield self.minibatch(rows, chosen[rows], policy)

    def in_order(self, size: int, policy: Policy) -> Iterator[Minibatch]:
        """All used tokens in the rollout's order, ``size`` outputs at a time."""
        for rows in self.used.any(-1).nonzero().squeeze(-1).split(size):
            yield self.minibatch(rows, self.used[rows], policy)

    def every(self, factor: int) -> Rollout:
        """The same, of which updates use every ``factor``-th output alone."""
        chosen = torch.arange(len(self), device=self.used.device) % factor == 0
        return replace(self, used=self.used & chosen[:, None])

    def with_advantages(self, advantages: Tensor, penalty_advantages: Tensor) -> Rollout:
        """The same with other advantages [N, T]."""
        return replace(self, advantages=advantages, penalty_advantages=penalty_advantages)

    def of_whole_sequences(self, policy: Policy) -> Rollout:
        """The same as if all but the first token of each padded row were output.

        So prompts and the padding on both sides are tokens of outputs, and nothing is hidden from
        attention. What is [N, T] is zero where it is not known.
        """
        sequences = policy.sequences(self.prompts, self.outputs)
        ids = torch.cat([sequences.prompts.ids, sequences.outputs.ids], 1)
        before = sequences.prompts.ids.shape[1] - 1
        names = ("log_probs", "ref_log_probs", "kl", "values", "task_rewards", "rewards",
                 "advantages", "penalty_advantages", "returns")  # fmt: skip
        known: dict[str, Any] = {
            name: nn.functional.pad(getattr(self, name), (before, 0)) for name in names
        }
        every = torch.ones_like(ids[:, 1:], dtype=torch.bool)
        prompts, outputs = ids[:, :1].tolist(), ids[:, 1:].tolist()
        return replace(self, prompts=prompts, outputs=outputs, mask=every, used=every, **known)

    def standardized(self) -> tuple[Rollout, Tensor]:
        """The same with advantages of mean 0 and std 1; and what they were divided by."""
        used = self.advantages[self.used]
        scale = _scale(used)
        return self.with_advantages(
            (self.advantages - used.mean()) / scale, self.penalty_advantages / scale
        ), scale


@dataclass(frozen=True)
class Minibatch:
    """n outputs, of which M tokens count."""

    sequences: Sequences
    """[n, T]"""
    select: Tensor
    """[n, T] the tokens that count, in row-major order the M of everything below."""
    tokens: Tensor
    """[M]"""
    log_probs: Tensor
    """[M] at the time of the rollout."""
    ref_log_probs: Tensor
    """[M]"""
    values: Tensor
    """[M] at the time of the rollout."""
    returns: Tensor
    """[M]"""
    advantages: Tensor
    """[M]"""
    penalty_advantages: Tensor
    """[M]"""
    allowed: Tensor | None
    """[M, ceil(V / 8)] the tokens that could come, packed; None without a mask."""
    weight: float = 1.0
    """Share of the tokens of the minibatch that it is a part of: those of all ranks add up to 1."""

    def __len__(self) -> int:
        return len(self.tokens)

    def counted(self, values: Tensor) -> Tensor:
        """[M, ...] of [n, T, ...] those of the tokens that count, without a copy if all do."""
        if len(self) == self.select.numel():
            return values.flatten(0, 1)
        return values[self.select]

    def of_this_rank(self) -> Minibatch:
        """The outputs that fall to this rank; means over them, times `weight`, add up over ranks.

        A rank to which none falls gets the first one and the weight 0, so that all ranks do alike.
        """
        if ranks.count() == 1:
            return self
        rows = ranks.share(len(self.select))
        is_idle = rows.start == rows.stop
        if is_idle:
            rows = slice(0, 1)
        row_of = self.select.nonzero()[:, 0]
        mine = (row_of >= rows.start) & (row_of < rows.stop)
        names = ("tokens", "log_probs", "ref_log_probs", "values", "returns", "advantages",
                 "penalty_advantages")  # fmt: skip
        return replace(
            self,
            **{name: getattr(self, name)[mine] for name in names},
            sequences=self.sequences.rows(rows),
            select=self.select[rows],
            allowed=None if self.allowed is None else self.allowed[mine],
            weight=0.0 if is_idle else int(mine.sum()) / len(self),
        )

    def standardized(self) -> tuple[Minibatch, Tensor]:
        """The same with advantages of mean 0 and std 1; and what they were divided by."""
        scale = _scale(self.advantages)
        return replace(
            self,
            advantages=(self.advantages - self.advantages.mean()) / scale,
            penalty_advantages=self.penalty_advantages / scale,
        ), scale


def _scale(advantages: Tensor) -> Tensor:
    """The unbiased standard deviation, a little more than nothing; 1 for one token alone."""
    if len(advantages) < 2:
        return torch.ones((), device=advantages.device)
    return advantages.std() + _EPSILON
