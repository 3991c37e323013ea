"""A policy's mask within the library's ``generate``: for beam search."""

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
    """Forbids what the mask forbids.

    Beams change places from step to step, so the mask model reads them anew each time.
    """

    def __init__(self, mask: Mask, prompts: Prompts, start: int | None) -> None:
        """``start`` is the first token of an encoder-decoder model's decoder."""
        self._mask = mask
        self._prompts = prompts
        self._start = start

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """[N, V] the scores, -inf where the mask forbids a token.

        Args:
            input_ids: [N, ...] prompts with what was generated, or what the decoder was given.
            scores: [N, V] of the policy; -inf for what cannot come.
        """
        found = scores
        if self._mask.model is not None:
            found = self._logits(self._mask.model, input_ids).masked_fill(
                scores == -torch.inf, -torch.inf
            )
        return scores.masked_fill(~self._mask.allowed(found), -torch.inf)

    def _logits(self, model: PreTrainedModel, input_ids: Tensor) -> Tensor:
        """[N, V] of the mask model, of the next token."""
        times = len(input_ids) // len(self._prompts.ids)
        prompts = Prompts(*(part.repeat_interleave(times, 0)
                            for part in (self._prompts.ids, self._prompts.mask)))  # fmt: skip
        before = prompts.ids.shape[1] if self._start is None else 1
        new = torch.nn.functional.pad(input_ids[:, before:], (0, 1))  # any next token will do
        sequences = Sequences(prompts, Prompts(new, torch.ones_like(new)), self._start)
        return sequences.logits(model)[:, -1]
