"""A batch of rollouts and its minibatches.

The host knows how long prompts and outputs are, and so which tokens are in a minibatch; what is
known of them stays on the device. So minibatches are made without a wait for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.machine.devices import sent
from grue.policies.prompts import Tokens
from grue.policies.sequences import Sequences
from grue.rl.token_positions import chosen, first_tokens, places, put_back, taken
from grue.rollouts.minibatch import ADVANTAGES, Minibatch, standardize

Unit = Literal["outputs", "tokens"]
"""What minibatches are drawn of: whole outputs, or single tokens of any output."""


@dataclass(frozen=True)
class Rollout:
    """N outputs of at most T tokens; outputs of one input stand beside each other.

    Everything [N, T] is of the state before, or the choice of, each token; nothing outside
    `response_mask` has a meaning.
    """

    prompts: Sequence[Tokens]
    outputs: Sequence[Tokens]
    num_used: Tensor
    """[N] on the CPU: how many tokens of each output updates use, its first ones."""
    sequences: Sequences
    """Prompts and outputs as tensors."""
    response_mask: Tensor
    """[N, T] the tokens."""
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
    kl_advantages: Tensor
    """[N, T] the part of the advantages that the penalty alone makes."""
    task_advantages: Tensor
    """[N, T] what the task's rewards alone make, see `grue.rl.advantages.AdvantageEstimates`."""
    returns: Tensor
    """[N, T] what the critic should have said."""
    vocab_mask_bits: Tensor | None = None
    """[N, T, ceil(V / 8)] the tokens that could come, packed; None without a mask."""
    reward_stds: Tensor | None = None
    """[N] standard deviations of the task's rewards by the reward itself; None if not asked for."""

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def num_tokens(self) -> int:
        """Tokens that updates use."""
        return int(self.num_used.sum())

    @functools.cached_property
    def train_mask(self) -> Tensor:
        """[N, T] tokens used for training; tokens past the rollout's size are dropped."""
        return sent(self._host_train_mask, self.response_mask.device)

    @functools.cached_property
    def _host_train_mask(self) -> Tensor:
        """`train_mask` on the CPU."""
        return first_tokens(self.num_used, self.response_mask.shape[1])

    def counted(self, values: Tensor) -> Tensor:
        """Return [M, ...] of [N, T, ...] those of the tokens that updates use."""
        return chosen(values, self._host_train_mask)

    def minibatch(self, rows: Tensor, loss_mask: Tensor | None = None) -> Minibatch:
        """Return some outputs.

        Args:
            rows: [n] their numbers, on the CPU.
            loss_mask: [n, T] on the CPU, which of their tokens count; None for all that are used.
        """
        # 1. On the host: as many columns as the longest of them need, and where their tokens are.
        numbers = rows.tolist()
        prompt_width = max(len(self.prompts[row]) for row in numbers)
        width = max(len(self.outputs[row]) for row in numbers)
        loss_mask = (self._host_train_mask[rows] if loss_mask is None else loss_mask)[:, :width]
        inside = places(loss_mask)
        row, column = inside // width, inside % width
        outside = rows[row] * self.response_mask.shape[1] + column
        # 2. On the device, in one transfer: what is known of them.
        index = sent(torch.cat([rows, inside, outside]), self.response_mask.device)
        rows, inside, outside = index.split([len(rows), len(inside), len(outside)])
        sequences = self.sequences.narrowed(prompt_width, width).rows(rows)
        bits = self.vocab_mask_bits
        return Minibatch(
            sequences=sequences,
            rows=rows,
            loss_mask=loss_mask,
            places=inside,
            tokens=taken(sequences.outputs.ids, inside),
            log_probs=taken(self.log_probs, outside),
            ref_log_probs=taken(self.ref_log_probs, outside),
            values=taken(self.values, outside),
            returns=taken(self.returns, outside),
            advantages=taken(self.advantages, outside),
            kl_advantages=taken(self.kl_advantages, outside),
            task_advantages=taken(self.task_advantages, outside),
            vocab_mask_bits=None if bits is None else taken(bits, outside),
        )

    def minibatches(
        self, size: int, generator: torch.Generator, unit: Unit = "outputs"
    ) -> Iterator[Minibatch]:
        """One pass over all used tokens in a new random order, about ``size`` in each minibatch.

        Whole outputs are put together until their first tokens pass a multiple of ``size``; as
        single tokens, the published way, exactly ``size`` come from all over the rollout.
        """
        if unit == "outputs":
            kept = places(self.num_used > 0)
            order = kept[torch.randperm(len(kept), generator=generator)]
            lengths = self.num_used[order]
            group = (lengths.cumsum(0) - lengths) // size
            for number in group.unique_consecutive().tolist():
                yield self.minibatch(order[group == number])
            return
        flat = places(self._host_train_mask)
        for part in flat[torch.randperm(len(flat), generator=generator)].split(size):
            loss_mask = torch.zeros_like(self._host_train_mask)
            loss_mask.view(-1)[part] = True
            rows = places(loss_mask.any(-1))
            yield self.minibatch(rows, loss_mask[rows])

    def sequential_batches(self, size: int) -> Iterator[Minibatch]:
        """Yield all used tokens in the rollout's order, ``size`` outputs at a time."""
        for rows in places(self.num_used > 0).split(size):
            yield self.minibatch(rows)

    def subsample(self, factor: int) -> Rollout:
        """Return the same, of which updates use every ``factor``-th output alone."""
        is_left = torch.arange(len(self)) % factor == 0
        return replace(self, num_used=self.num_used * is_left)

    def with_advantages(self, advantages: Tensor, kl_advantages: Tensor) -> Rollout:
        """Return the same with other advantages [N, T], of which penalties make a part."""
        return replace(
            self,
            advantages=advantages,
            kl_advantages=kl_advantages,
            task_advantages=advantages - kl_advantages,
        )

    def of_whole_sequences(self) -> Rollout:
        """Return the same as if all but the first token of each padded row were output.

        So prompts and the padding on both sides are tokens of outputs, and nothing is hidden from
        attention. What is [N, T] is zero where it is not known.
        """
        sequences = self.sequences.all_output()
        before = self.sequences.prompts.ids.shape[1] - 1
        names = ("log_probs", "ref_log_probs", "kl", "values", "task_rewards", "rewards",
                 "advantages", "kl_advantages", "task_advantages", "returns")  # fmt: skip
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
            response_mask=sequences.outputs.mask.bool(),
            **known,
        )

    def standardized(self) -> tuple[Rollout, Tensor]:
        """Return the same with advantages of mean 0 and std 1, and [] what they were divided by.

        Equal advantages become 0, and are divided by 1.
        """
        parts = [self.counted(getattr(self, name)) for name in ADVANTAGES]
        found, scale = standardize(parts)
        advantages, of_penalties, of_task = (
            put_back(part, self._host_train_mask) for part in found
        )
        return replace(
            self,
            advantages=advantages,
            kl_advantages=of_penalties,
            task_advantages=of_task,
        ), scale
