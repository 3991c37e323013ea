"""A batch of rollouts and its minibatches.

The host knows the lengths of prompts and outputs, and so the tokens of a minibatch, while their
values stay on the device. Minibatches are therefore made without waiting for the device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common import distributed
from common.machine.devices import sent
from grue.policies.prompts import Tokens
from grue.policies.sequences import Sequences
from grue.rl.equality import centred, scale_of
from grue.rl.token_positions import chosen, first_tokens, places, put_back, taken

_ADVANTAGES = ("advantages", "penalty_advantages", "task_advantages")
"""Name of an advantage field: the whole, or one of its parts."""

Unit = Literal["outputs", "tokens"]
"""Unit of minibatches: whole outputs, or single tokens of any output."""


@dataclass(frozen=True)
class Rollout:
    """N outputs of at most T tokens; outputs of one input are next to each other.

    Values [N, T] belong to the state before each token, or to its choice; outside `mask` they have
    no meaning.
    """

    prompts: Sequence[Tokens]
    outputs: Sequence[Tokens]
    num_used: Tensor
    """[N] on the CPU: number of tokens of each output that are used for training, its first
    ones."""
    sequences: Sequences
    """Prompts and outputs as tensors."""
    mask: Tensor
    """[N, T] true at an output's tokens."""
    log_probs: Tensor
    """[N, T] log-probabilities by the policy that sampled the tokens, at its temperature and within
    its mask."""
    ref_log_probs: Tensor
    """[N, T] log-probabilities by the reference."""
    kl: Tensor
    """[N, T] estimates of KL(policy || reference), in nats; of the policy without a mask."""
    values: Tensor
    """[N, T] values of the critic."""
    task_rewards: Tensor
    """[N, T] rewards of the task alone, usually at the last token."""
    rewards: Tensor
    """[N, T] rewards with the penalty for the distance from the reference."""
    advantages: Tensor
    """[N, T] advantages."""
    penalty_advantages: Tensor
    """[N, T] part of the advantages from the penalty alone."""
    task_advantages: Tensor
    """[N, T] part of the advantages from the task's rewards alone, see
    `grue.rl.advantages.Credit`."""
    returns: Tensor
    """[N, T] targets of the critic."""
    allowed: Tensor | None = None
    """[N, T, ceil(V / 8)] packed vocabulary masks; None without a mask."""
    reward_stds: Tensor | None = None
    """[N] standard deviations of the task's rewards by the reward itself; None if not
    configured."""

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def num_tokens(self) -> int:
        """Number of tokens used for training."""
        return int(self.num_used.sum())

    @functools.cached_property
    def used(self) -> Tensor:
        """[N, T] mask of the tokens used for training.

        Tokens past the configured number are dropped.
        """
        return sent(self._select, self.mask.device)

    @functools.cached_property
    def _select(self) -> Tensor:
        """`used` on the CPU."""
        return first_tokens(self.num_used, self.mask.shape[1])

    def counted(self, values: Tensor) -> Tensor:
        """Return [M, ...] the values [N, T, ...] of the tokens used for training."""
        return chosen(values, self._select)

    def minibatch(self, rows: Tensor, select: Tensor | None = None) -> Minibatch:
        """Return a minibatch of some outputs.

        Args:
            rows: [n] indices of the outputs, on the CPU.
            select: [n, T] CPU mask of their tokens to train on; None for all tokens used for
                training.
        """
        # 1. On the host: as many columns as the longest of them need, and where their tokens are.
        numbers = rows.tolist()
        prompt_width = max(len(self.prompts[row]) for row in numbers)
        width = max(len(self.outputs[row]) for row in numbers)
        select = (self._select[rows] if select is None else select)[:, :width]
        inside = places(select)
        row, column = inside // width, inside % width
        outside = rows[row] * self.mask.shape[1] + column
        # 2. On the device, in one transfer: what is known of them.
        index = sent(torch.cat([rows, inside, outside]), self.mask.device)
        rows, inside, outside = index.split([len(rows), len(inside), len(outside)])
        sequences = self.sequences.narrowed(prompt_width, width).rows(rows)
        return Minibatch(
            sequences=sequences,
            rows=rows,
            select=select,
            places=inside,
            tokens=taken(sequences.outputs.ids, inside),
            log_probs=taken(self.log_probs, outside),
            ref_log_probs=taken(self.ref_log_probs, outside),
            values=taken(self.values, outside),
            returns=taken(self.returns, outside),
            advantages=taken(self.advantages, outside),
            penalty_advantages=taken(self.penalty_advantages, outside),
            task_advantages=taken(self.task_advantages, outside),
            allowed=None if self.allowed is None else taken(self.allowed, outside),
        )

    def minibatches(
        self, size: int, generator: torch.Generator, unit: Unit = "outputs"
    ) -> Iterator[Minibatch]:
        """Yield minibatches of one pass over all used tokens, in a new random order.

        Whole outputs are added until their tokens exceed a multiple of ``size``. With single
        tokens, the published way, a minibatch has exactly ``size`` tokens of the whole rollout.
        """
        if unit == "outputs":
            kept = places(self.num_used > 0)
            order = kept[torch.randperm(len(kept), generator=generator)]
            lengths = self.num_used[order]
            group = (lengths.cumsum(0) - lengths) // size
            for number in group.unique_consecutive().tolist():
                yield self.minibatch(order[group == number])
            return
        flat = places(self._select)
        for part in flat[torch.randperm(len(flat), generator=generator)].split(size):
            select = torch.zeros_like(self._select)
            select.view(-1)[part] = True
            rows = places(select.any(-1))
            yield self.minibatch(rows, select[rows])

    def in_order(self, size: int) -> Iterator[Minibatch]:
        """Yield minibatches of ``size`` outputs with all used tokens, in the rollout's order."""
        for rows in places(self.num_used > 0).split(size):
            yield self.minibatch(rows)

    def every(self, factor: int) -> Rollout:
        """Return the same rollout with only every ``factor``-th output used for training."""
        is_left = torch.arange(len(self)) % factor == 0
        return replace(self, num_used=self.num_used * is_left)

    def with_advantages(self, advantages: Tensor, penalty_advantages: Tensor) -> Rollout:
        """Return the same rollout with other advantages [N, T] and their part from penalties."""
        return replace(
            self,
            advantages=advantages,
            penalty_advantages=penalty_advantages,
            task_advantages=advantages - penalty_advantages,
        )

    def of_whole_sequences(self) -> Rollout:
        """Return the same rollout with all but the first token of each padded row as output.

        Prompts and the padding on both sides are then tokens of outputs, and nothing is hidden from
        attention. Values [N, T] of these tokens are zero.
        """
        sequences = self.sequences.all_output()
        before = self.sequences.prompts.ids.shape[1] - 1
        names = ("log_probs", "ref_log_probs", "kl", "values", "task_rewards", "rewards",
                 "advantages", "penalty_advantages", "task_advantages", "returns")  # fmt: skip
        known: dict[str, Any] = {
            name: nn.functional.pad(getattr(self, name), (before, 0)) for name in names
        }
        rows = torch.cat([sequences.prompts.ids, sequences.outputs.ids], 1).tolist()
        return replace(
            self,
            prompts=[row[:1] for row in rows],
            outputs=[row[1:] for row in rows],
            num_used=torch.full_like(self.num_used, len(rows[0]) - 1),
            sequences=sequences,
            mask=sequences.outputs.mask.bool(),
            **known,
        )

    def standardized(self) -> tuple[Rollout, Tensor]:
        """Return the same rollout with advantages of mean 0 and std 1, and [] their divisor.

        Equal advantages become 0, with the divisor 1.
        """
        parts = [self.counted(getattr(self, name)) for name in _ADVANTAGES]
        found, scale = _standardized(parts)
        advantages, of_penalties, of_task = (put_back(part, self._select) for part in found)
        return replace(
            self,
            advantages=advantages,
            penalty_advantages=of_penalties,
            task_advantages=of_task,
        ), scale


@dataclass(frozen=True)
class Minibatch:
    """Minibatch of n outputs with M tokens used for training."""

    sequences: Sequences
    """[n, T] prompts and outputs."""
    rows: Tensor
    """[n] indices of the outputs in the rollout."""
    select: Tensor
    """[n, T] CPU mask of the tokens used for training; in row-major order they are the M of all
    fields below."""
    places: Tensor
    """[M] flat positions where `select` is true: row times T plus column."""
    tokens: Tensor
    """[M] ids of the tokens."""
    log_probs: Tensor
    """[M] log-probabilities at the time of the rollout."""
    ref_log_probs: Tensor
    """[M] log-probabilities by the reference."""
    values: Tensor
    """[M] values at the time of the rollout."""
    returns: Tensor
    """[M] advantages."""
    advantages: Tensor
    """[M] part of the advantages from the penalty."""
    penalty_advantages: Tensor
    """[M] part of the advantages from the task's rewards."""
    task_advantages: Tensor
    """[M] targets of the critic."""
    allowed: Tensor | None
    """[M, ceil(V / 8)] packed vocabulary masks; None without a mask."""
    weight: float = 1.0
    """Share of the tokens of the whole minibatch that this part has; the shares of all ranks sum to
    1."""

    def __len__(self) -> int:
        return len(self.tokens)

    def counted(self, values: Tensor) -> Tensor:
        """Return [M, ...] the values [n, T, ...] of the trained tokens; no copy if all are."""
        if len(self) == self.select.numel():
            return values.flatten(0, 1)
        return taken(values, self.places)

    def of_this_rank(self) -> Minibatch:
        """Return this rank's part of the outputs.

        Means over them, times `weight`, sum up over ranks. A rank without outputs gets the first
        one with weight 0, so that all ranks make the same calls.
        """
        if distributed.world_size() == 1:
            return self
        rows = distributed.shard_slice(len(self.select))
        is_idle = rows.start == rows.stop
        if is_idle:
            rows = slice(0, 1)
        before, own = int(self.select[: rows.start].sum()), int(self.select[rows].sum())
        mine = slice(before, before + own)
        names = ("tokens", "log_probs", "ref_log_probs", "values", "returns",
                 *_ADVANTAGES)  # fmt: skip
        return replace(
            self,
            **{name: getattr(self, name)[mine] for name in names},
            sequences=self.sequences.rows(rows),
            rows=self.rows[rows],
            select=self.select[rows],
            places=self.places[mine] - rows.start * self.select.shape[1],
            allowed=None if self.allowed is None else self.allowed[mine],
            weight=0.0 if is_idle else own / len(self),
        )

    def standardized(self) -> tuple[Minibatch, Tensor]:
        """Return the same minibatch with advantages of mean 0 and std 1, and [] their divisor.

        Equal advantages become 0, with the divisor 1.
        """
        found, scale = _standardized([getattr(self, name) for name in _ADVANTAGES])
        advantages, of_penalties, of_task = found
        return replace(
            self,
            advantages=advantages,
            penalty_advantages=of_penalties,
            task_advantages=of_task,
        ), scale


def _standardized(parts: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return [M] each the centred advantages and their parts, over the std of the advantages.

    The std [] is returned too.
    """
    scale = scale_of(parts[0]) if len(parts[0]) > 1 else torch.ones_like(parts[0][:1])
    return [centred(part) / scale for part in parts], scale.squeeze()
