"""Scoring of outputs by a reward, with checks of shapes and finite numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.parts.user_function import scores_of, shown
from grue.policies.prompt_encoder import Tokens
from grue.rewards.reward import Reward
from grue.texts import Texts


def score_outputs(
    reward: Reward[Any], texts: Texts, outputs: Sequence[Tokens], *, with_stds: bool
) -> NDArray[np.float64]:
    """Return the rewards of n outputs: [n], or [n, T] of their tokens.

    A reward that is made of P others gives [n, 1 + P]: itself, and them in the order of its
    ``part_names``.

    Args:
        reward: the run's.
        texts: the outputs with their prompts and references.
        outputs: their tokens.
        with_stds: whether the standard deviations are returned too, beside the rewards as [n, 2].

    Raises:
        UserError: the reward fails, their number is wrong, or one is not finite; an output is
            named.
    """
    name = f"{type(reward).__module__}:{type(reward).__qualname__}"
    if with_stds:

        def mean_and_std(texts: Texts) -> list[tuple[Any, Any]]:
            return list(zip(*reward.mean_and_std(texts), strict=True))

        return _checked(mean_and_std, texts, name)
    if reward.part_names:

        def with_parts(texts: Texts) -> list[tuple[Any, ...]]:
            found, parts = reward.with_parts(texts)
            return list(zip(found, *parts.values(), strict=True))

        return _checked(with_parts, texts, name)
    scores = _checked(reward, texts, name)
    _check_lengths(scores, outputs, texts, name)
    return scores


def _checked(function: Callable[[Texts], Any], texts: Texts, name: str) -> NDArray[np.float64]:
    """Return [N] or [N, T] the results of a function of the reward called ``name``.

    Raises:
        UserError: it fails, their number is wrong, or one is not finite; an output is named.
    """

    def of_columns(*columns: Any) -> Any:
        return function(Texts(*columns))

    return scores_of(of_columns, texts, per_token=True, name=name)


def _check_lengths(
    scores: NDArray[np.float64], outputs: Sequence[Tokens], texts: Texts, name: str
) -> None:
    """Check that rewards per token, [n, T], are those of the outputs' tokens.

    Raises:
        UserError: an output has more tokens, or is rewarded after its end; it is named.
    """
    if scores.ndim < 2:
        return
    for row, output in enumerate(outputs):
        needed, width = len(output), scores.shape[1]
        if width < needed or scores[row, needed:].any():
            found = f"{width}" if width < needed else f"{width}, not all zero after its end,"
            raise UserError(
                f"'{name}' gave {found} numbers for prompt {shown(texts.prompts[row])}, output "
                f"{shown(texts.outputs[row])}, which has {needed} tokens (its end-of-sequence "
                f"counts): return {len(outputs)} numbers, one per output, or one for each token "
                "and zeros after them"
            )
