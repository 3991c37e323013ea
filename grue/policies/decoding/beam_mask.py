"""Vocabulary mask of a policy within the library's ``generate``, for beam search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from grue.policies.padding import Prompts
from grue.policies.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.vocabulary_mask import Mask


class MaskProcessor(LogitsProcessor):
    """Logits processor that applies the vocabulary mask.

    Beams are reordered at each step, so the mask model reads the whole sequences each time.
    """

    def __init__(self, mask: Mask, prompts: Prompts, start: int | None) -> None:
        """Set the decoder's first token ``start``, for encoder-decoder models."""
        self._mask = mask
        self._prompts = prompts
        self._start = start

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return [N, V] the scores, -inf for tokens that the mask forbids.

        Args:
            input_ids: [N, ...] prompts and generated tokens, or the decoder's tokens.
            scores: [N, V] of the policy; -inf for forbidden tokens.
        """
        found = scores
        if self._mask.model is not None:
            found = self._logits(self._mask.model, input_ids).masked_fill(
                scores == -torch.inf, -torch.inf
            )
        return scores.masked_fill(~self._mask.allowed(found), -torch.inf)

    def _logits(self, model: PreTrainedModel, input_ids: Tensor) -> Tensor:
        """Return [N, V] the mask model's logits of the next token."""
        times = len(input_ids) // len(self._prompts.ids)
        prompts = Prompts(*(part.repeat_interleave(times, 0)
                            for part in (self._prompts.ids, self._prompts.mask)))  # fmt: skip
        before = prompts.ids.shape[1] if self._start is None else 1
        new = torch.nn.functional.pad(input_ids[:, before:], (0, 1))  # any next token will do
        sequences = Sequences(prompts, Prompts(new, torch.ones_like(new)), self._start)
        return sequences.logits(model)[:, -1]
