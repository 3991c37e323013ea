"""Prompts with their outputs as one batch of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.training.attention_masks import masks_without_waits
from grue.models.signature import accepts
from grue.policies.padding import Prompts, positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Sequences:
    """N prompts with their outputs. Results for each output token have the shape [N, T]."""

    prompts: Prompts
    """[N, P] prompts, padded on the left for causal models, so that all outputs start at one
    column."""
    outputs: Prompts
    """[N, T] outputs, padded on the right."""
    start: int | None
    """First token of an encoder-decoder model's decoder; None for causal models."""

    def narrowed(self, prompt_width: int, width: int) -> Sequences:
        """Return the sequences without columns of padding."""
        missing = self.prompts.ids.shape[1] - prompt_width
        columns = slice(missing, None) if self.start is None else slice(prompt_width)
        prompts = Prompts(self.prompts.ids[:, columns], self.prompts.mask[:, columns])
        outputs = Prompts(self.outputs.ids[:, :width], self.outputs.mask[:, :width])
        return Sequences(prompts, outputs, self.start)

    def rows(self, rows: slice | Tensor) -> Sequences:
        """Return some of the N sequences: a slice of them, or [n] indices on their device."""
        prompts, outputs = (
            Prompts(of.ids[rows], of.mask[rows]) for of in (self.prompts, self.outputs)
        )
        return Sequences(prompts, outputs, self.start)

    def all_output(self) -> Sequences:
        """Return the same rows; all tokens but the first, padding included, become outputs."""
        ids = torch.cat([self.prompts.ids, self.outputs.ids], -1)
        seen = torch.ones_like(ids)
        prompts, outputs = (
            Prompts(ids[:, columns], seen[:, columns]) for columns in (slice(1), slice(1, None))
        )
        return Sequences(prompts, outputs, self.start)

    def logits(self, model: PreTrainedModel) -> Tensor:
        """Return [N, T, V] the model's logits before each output token."""
        return self.logits_and_states(model)[0]

    @masks_without_waits()
    def logits_and_states(
        self, model: PreTrainedModel, *, with_states: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return [N, T, V] logits and, if asked for, [N, T, H] last hidden states."""
        num_tokens = self.outputs.ids.shape[1]
        inputs = self._inputs(model)
        if self.start is None and accepts(model, "logits_to_keep"):
            inputs["logits_to_keep"] = num_tokens
        found = model(**inputs, output_hidden_states=with_states, use_cache=False)
        logits: Tensor = found.logits
        if logits.shape[1] > num_tokens:  # a slice of all would cost a copy of the gradient
            logits = logits[:, -num_tokens:]
        if not with_states:
            return logits, None
        states = found.hidden_states if self.start is None else found.decoder_hidden_states
        return logits, states[-1][:, -num_tokens:]

    @masks_without_waits()
    def states(self, trunk: PreTrainedModel) -> Tensor:
        """Return [N, T, H] the trunk's last hidden states before each output token."""
        num_tokens = self.outputs.ids.shape[1]
        if self.start is None:
            found = trunk.base_model(**self._inputs(trunk.base_model), use_cache=False)
        else:
            encoded = trunk.get_encoder()(
                input_ids=self.prompts.ids, attention_mask=self.prompts.mask
            )
            found = trunk.get_decoder()(
                input_ids=self._decoder_ids(),
                encoder_hidden_states=encoded.last_hidden_state,
                encoder_attention_mask=self.prompts.mask,
                use_cache=False,
            )
        states: Tensor = found.last_hidden_state[:, -num_tokens:]
        return states

    def _inputs(self, model: Any) -> dict[str, Any]:
        if self.start is not None:
            return {
                "input_ids": self.prompts.ids,
                "attention_mask": self.prompts.mask,
                "decoder_input_ids": self._decoder_ids(),
            }
        mask = torch.cat([self.prompts.mask, self.outputs.mask[:, :-1]], -1)
        inputs = {
            "input_ids": torch.cat([self.prompts.ids, self.outputs.ids[:, :-1]], -1),
            "attention_mask": mask,
        }
        if accepts(model, "position_ids"):
            inputs["position_ids"] = positions(mask)
        return inputs

    def _decoder_ids(self) -> Tensor:
        assert self.start is not None, "the decoder has a first token"
        start = torch.full_like(self.outputs.ids[:, :1], self.start)
        return torch.cat([start, self.outputs.ids[:, :-1]], -1)
