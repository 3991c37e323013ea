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

from common.machine.devices import sent
from grue.policies.prompt_encoder import Tokens
from grue.policies.sequences import Sequences
from grue.rl.group_advantages import Groups
from grue.rl.token_positions import chosen, first_tokens, places, put_back, taken
from grue.rollouts.minibatch import ADVANTAGES, Minibatch, standardize

Unit = Literal["outputs", "tokens"]
"""Unit of minibatches: whole outputs, or single tokens of any output."""


@dataclass(frozen=True)
class Rollout:
    """N outputs of at most T tokens; outputs of one input are next to each other.

    Values [N, T] belong to the state before each token, or to its choice; outside `response_mask`
    they have no meaning.
    """

    prompts: Sequence[Tokens]
    outputs: Sequence[Tokens]
    num_used: Tensor
    """[N] on the CPU: number of tokens of each output that are used for training, its first
    ones."""
    longest: int
    """Largest number of tokens that an output may have."""
    sequences: Sequences
    """Prompts and outputs as tensors."""
    response_mask: Tensor
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
    kl_advantages: Tensor
    """[N, T] part of the advantages from the penalty alone."""
    task_advantages: Tensor
    """[N, T] part from the task's rewards alone, see `grue.rl.advantages.AdvantageEstimates`."""
    returns: Tensor
    """[N, T] targets of the critic."""
    vocab_mask_bits: Tensor | None = None
    """[N, T, ceil(V / 8)] packed vocabulary masks; None without a mask."""
    reward_stds: Tensor | None = None
    """[N] standard deviations of the task's rewards by the reward itself; None if not
    configured."""
    groups: Groups | None = None
    """Groups where more than the outputs' own rewards decides on them; None elsewhere."""

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def num_tokens(self) -> int:
        """Number of tokens used for training."""
        return int(self.num_used.sum())

    def totals(self, num_samples: int) -> Tensor:
        """Return [B, K] the task's rewards of whole outputs, for K = ``num_samples`` per input."""
        return self.task_rewards.sum(1).view(-1, num_samples)

    @functools.cached_property
    def train_mask(self) -> Tensor:
        """[N, T] mask of the tokens used for training.

        Tokens past the rollout's size are dropped.
        """
        return sent(self._host_train_mask, self.response_mask.device)

    @functools.cached_property
    def _host_train_mask(self) -> Tensor:
        """`train_mask` on the CPU."""
        return first_tokens(self.num_used, self.response_mask.shape[1])

    def counted(self, values: Tensor) -> Tensor:
        """Return [M, ...] the values [N, T, ...] of the tokens used for training."""
        return chosen(values, self._host_train_mask)

    def minibatch(self, rows: Tensor, loss_mask: Tensor | None = None) -> Minibatch:
        """Return a minibatch of some outputs.

        Args:
            rows: [n] indices of the outputs, on the CPU.
            loss_mask: [n, T] CPU mask of their tokens to train on; None for all tokens used for
                training.
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
        flat = places(self._host_train_mask)
        for part in flat[torch.randperm(len(flat), generator=generator)].split(size):
            loss_mask = torch.zeros_like(self._host_train_mask)
            loss_mask.view(-1)[part] = True
            rows = places(loss_mask.any(-1))
            yield self.minibatch(rows, loss_mask[rows])

    def sequential_batches(self, size: int) -> Iterator[Minibatch]:
        """Yield minibatches of ``size`` outputs with all used tokens, in the rollout's order."""
        for rows in places(self.num_used > 0).split(size):
            yield self.minibatch(rows)

    def only(self, is_used: Tensor) -> Rollout:
        """Return the same rollout with only some outputs, [N] bool, used for training."""
        return replace(self, num_used=self.num_used * is_used.cpu())

    def subsample(self, factor: int) -> Rollout:
        """Return the same rollout with only every ``factor``-th output used for training."""
        return self.only(torch.arange(len(self)) % factor == 0)

    def with_advantages(self, advantages: Tensor, kl_advantages: Tensor) -> Rollout:
        """Return the same rollout with other advantages [N, T] and their part from penalties."""
        return replace(
            self,
            advantages=advantages,
            kl_advantages=kl_advantages,
            task_advantages=advantages - kl_advantages,
        )

    def with_groups(self, groups: Groups | None) -> Rollout:
        """Return the same rollout with what decides on its groups."""
        device = self.response_mask.device
        return replace(self, groups=None if groups is None else groups.to(device))

    def of_whole_sequences(self) -> Rollout:
        """Return the same rollout with all but the first token of each padded row as output.

        Prompts and the padding on both sides are then tokens of outputs, and nothing is hidden from
        attention. Values [N, T] of these tokens are zero.
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
        """Return the same rollout with advantages of mean 0 and std 1, and [] their divisor.

        Equal advantages become 0, with the divisor 1.
        """
        parts = [self.counted(getattr(self, name)) for name in ADVANTAGES]
        found, scale = standardize(parts, *map(self.counted, (self.values, self.returns)))
        on_grid = (put_back(part, self._host_train_mask) for part in found)
        known: dict[str, Any] = dict(zip(ADVANTAGES, on_grid, strict=True))
        return replace(self, **known), scale
