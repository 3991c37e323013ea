"""Batch size of generation: as many outputs at once as the device's memory holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

T = TypeVar("T")

_SHARE = 0.7
"""Share of the free memory that a pass is estimated to fill. The rest is for tensors that the
estimate leaves out."""
_LOGITS_COPIES = 14
"""Number of four-byte values per entry of the vocabulary: logits, scaled logits, probabilities,
their cumulative sums in twice the width, and the indices and workspace of a sort."""
_STATES_COPIES = 16
"""Number of values per entry of a prompt token's hidden state within a layer, whose inner width is
four times as large."""


@dataclass(frozen=True)
class Extent:
    """Lengths of prompts and outputs, and number of outputs per prompt."""

    prompt: int
    """Tokens of the longest prompt."""
    output: int
    """Largest number of tokens of an output."""
    num_samples: int
    """K, the outputs of each prompt."""


def bytes_per_output(model: PreTrainedModel, extent: Extent) -> float:
    """Return the approximate bytes that a model needs to generate one output, beside its weights.

    If the model's configuration does not give its size, the estimate is zero, and a pass that is
    too large is halved after it fails.
    """
    config = model.config.get_text_config()
    layers = _first(config, "num_decoder_layers", "decoder_layers", "num_hidden_layers")
    heads = _first(config, "decoder_attention_heads", "num_attention_heads")
    hidden = _first(config, "hidden_size", "d_model")
    if not (layers and heads and hidden):
        return 0.0
    size: int = model.dtype.itemsize
    key_heads = _first(config, "num_key_value_heads") or heads
    head_size = _first(config, "head_dim") or hidden // heads
    cached = 2 * layers * key_heads * head_size * size  # keys and values of one token
    # What the prompt takes once; a causal model's cache repeats it for each output.
    prompt = extent.prompt * (_STATES_COPIES * hidden + 2 * heads * extent.prompt) * size
    own = extent.output
    if model.config.is_encoder_decoder:
        prompt += extent.prompt * cached
    else:
        own += extent.prompt
    logits = 4 * _LOGITS_COPIES * int(config.vocab_size)
    return own * cached + logits + prompt / extent.num_samples


def _first(config: Any, *names: str) -> int | None:
    """Return the first of the configuration's entries ``names`` that is a number."""
    found = (getattr(config, name, None) for name in names)
    return next((number for number in found if isinstance(number, int)), None)


def free_bytes(device: torch.device) -> float:
    """Return the free bytes of a CUDA GPU; infinity on other devices."""
    if device.type != "cuda":
        return math.inf
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(free + held)


class Passes:
    """Generation in passes: a grid of outputs in as few batches as the device's memory allows.

    A pass that runs out of memory in spite of the estimate is halved, and so are all later ones.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most = math.inf
        """Largest number of outputs of a pass, lowered after a lack of memory."""

    def run(
        self,
        num_prompts: int,
        num_samples: int,
        work: Callable[[slice, slice], T],
        *,
        bytes_each: float,
    ) -> list[T]:
        """Return the results of ``work`` for parts of the grid, prompt by prompt.

        Args:
            num_prompts: B.
            num_samples: K of each prompt; they are split only if one prompt's samples do not fit.
            work: function of a slice of prompts and a slice of their samples.
            bytes_each: approximate bytes that an output needs.

        Raises:
            torch.OutOfMemoryError: not even a single output fits.
        """
        fitting = _SHARE * free_bytes(self._device) // bytes_each if bytes_each else math.inf

        def part(prompts: range, samples: range) -> list[T]:
            size = len(prompts) * len(samples)
            if size <= max(1, min(self._most, fitting)):
                try:
                    return [work(_slice(prompts), _slice(samples))]
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    self._learn(size)
            # Here the failed pass is forgotten, with the tensors that its error held.
            if len(prompts) > 1:
                first, second = _halves(prompts)
                return part(first, samples) + part(second, samples)
            first, second = _halves(samples)
            return part(prompts, first) + part(prompts, second)

        return part(range(num_prompts), range(num_samples))

    def _learn(self, size: int) -> None:
        if self._most == math.inf:
            log.warning(
                "%d outputs at once do not fit in the device's memory: from now on they are made "
                "in smaller passes, which takes longer; to avoid it lower 'n_envs' or "
                "'eval_batch_size', 'num_samples_per_input' or 'max_new_tokens'",
                size,
            )
        self._most = (size + 1) // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _slice(numbers: range) -> slice:
    return slice(numbers.start, numbers.stop)


def _halves(numbers: range) -> tuple[range, range]:
    middle = (len(numbers) + 1) // 2
    return numbers[:middle], numbers[middle:]
