"""Pending rollout: outputs while they are collected, and those that are left if a reward fails."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.custom.user_code import PartError
from grue.parts.token_numbers import pad_stack
from grue.policies.prompt_encoder import Tokens
from grue.rl.selection import at_least
from grue.rollouts.group_rules import GroupRules
from grue.texts import Texts


@dataclass
class PendingRollout:
    """Outputs collected so far, input by input."""

    prompts: list[Tokens] = field(default_factory=list)
    outputs: list[Tokens] = field(default_factory=list)
    texts: list[Texts] = field(default_factory=list)
    """Outputs of each batch."""
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    """Task rewards of each batch, [N] or [N, T]."""
    stds: list[NDArray[np.float64]] = field(default_factory=list)
    """Standard deviations [N] of the rewards of each batch, if configured."""
    parts: list[Mapping[str, NDArray[np.float64]]] = field(default_factory=list)
    """Rewards [N] of which the task reward of each batch is made, by name, if there are any."""
    vocab_mask_bits: list[Tensor] = field(default_factory=list)
    """Packed vocabulary masks [N, T, ceil(V / 8)] of each batch, if there is a mask."""
    groups: list[int] = field(default_factory=list)
    """Number of each output's input in the rollout, from 0."""
    inputs: list[int] = field(default_factory=list)
    """Position of each output's input among the run's."""

    log_probs: list[Tensor] = field(default_factory=list)
    """Log-probabilities [T, 2] of each output, within the mask and without it, if they were kept
    while it was drawn."""

    def num_tokens(self) -> int:
        """Return the number of tokens so far."""
        return sum(map(len, self.outputs))

    def first(self, most: int | None) -> Tensor:
        """Return [N] the number of each output's tokens among the first ``most`` of all.

        With None, all tokens count.
        """
        lengths = torch.tensor([len(output) for output in self.outputs])
        if most is None:
            return lengths
        before = lengths.cumsum(0) - lengths
        return torch.minimum((most - before).clamp(min=0), lengths)

    def part_means(self) -> dict[str, float]:
        """Return the mean over all outputs of each reward of which the task's is made."""
        return {
            f"reward_parts/{name}": float(np.concatenate([of[name] for of in self.parts]).mean())
            for name in (self.parts[0] if self.parts else ())
        }

    def joined_mask_bits(self, width: int) -> Tensor | None:
        """Return [N, T, ceil(V / 8)] the allowed tokens, for T = ``width``; None for all."""
        if not self.vocab_mask_bits:
            return None
        return torch.cat(self.vocab_mask_bits)[:, :width]

    def joined_log_probs(self, width: int) -> Tensor | None:
        """Return [N, T, 2] log-probabilities, for T = ``width``; None if not all were kept."""
        if len(self.log_probs) < len(self.outputs):
            return None
        return torch.stack(self.log_probs)[:, :width]

    def totals(self) -> NDArray[np.float64]:
        """Return [N] the task's rewards of whole outputs."""
        return np.array([np.sum(score) for of_batch in self.scores for score in of_batch])

    def deciding(self, part: str | None) -> NDArray[np.float64]:
        """Return [N] the rewards that decide whether groups deviate: a part, or the task's."""
        if part is None:
            return self.totals()
        return np.concatenate([of_batch[part] for of_batch in self.parts])

    def are_right(self, rules: GroupRules) -> NDArray[np.bool_]:
        """Return [N] whether each output is right, by what decides: from the best reward up."""
        return at_least(self.deciding(rules.silent_by), rules.best_reward)

    def rows_of_groups(self) -> list[list[int]]:
        """Return the positions of each group's outputs; groups are in the order of drawing."""
        found: dict[int, list[int]] = {}
        for row, group in enumerate(self.groups):
            found.setdefault(group, []).append(row)
        return list(found.values())

    def of_rows(self, rows: Sequence[int]) -> PendingRollout:
        """Return some of the scored outputs alone."""
        scores = [score for of_batch in self.scores for score in of_batch]
        names = self.parts[0] if self.parts else ()
        return PendingRollout(
            prompts=[self.prompts[row] for row in rows],
            outputs=[self.outputs[row] for row in rows],
            scores=[pad_stack([scores[row] for row in rows])],
            parts=[{name: self.deciding(name)[rows] for name in names}] if names else [],
            groups=[self.groups[row] for row in rows],
            inputs=[self.inputs[row] for row in rows],
            log_probs=[self.log_probs[row] for row in rows] if self.log_probs else [],
        )

    def rewards(self, width: int) -> NDArray[np.float64]:
        """Return [N, T] the task's rewards; a reward per output is placed at its last token."""
        found = np.zeros((len(self.outputs), width))
        scores = itertools.chain.from_iterable(self.scores)
        for row, (output, score) in enumerate(zip(self.outputs, scores, strict=True)):
            if score.ndim == 0:
                found[row, len(output) - 1] = score
            else:
                found[row, : len(output)] = score[: len(output)]
        return found


class FailedRollout(PartError):
    """Error of a failed reward, with the outputs sampled until then."""

    def __init__(self, message: str, found: PendingRollout) -> None:
        super().__init__(message)
        self.found = found

    def rows(self) -> list[dict[str, Any]]:
        """Outputs with their prompts and rewards; a reward is None in the last batch."""
        scores = [list(of_batch) for of_batch in self.found.scores]
        scores += [[None] * len(texts) for texts in self.found.texts[len(scores) :]]
        return [
            {"prompt": prompt, "output": output, "reward": _plain(reward)}
            for texts, of_batch in zip(self.found.texts, scores, strict=True)
            for prompt, output, reward in zip(texts.prompts, texts.outputs, of_batch, strict=True)
        ]


def _plain(reward: Any) -> Any:
    """Return a number, or one per token, as in JSON."""
    return None if reward is None else np.asarray(reward).tolist()
