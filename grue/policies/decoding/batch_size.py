"""How many outputs are made at once: as many as the device's memory holds."""

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
"""Part of the free memory that a pass is meant to fill: the rest is for what is not counted, such
as pieces between tensors that grow."""
_LOGITS_COPIES = 14
"""Numbers of four bytes for each entry of the vocabulary: logits, scaled and as probabilities,
their sums, which are twice as wide, and where the vocabulary is sorted the places of the sorted and
room for the sort."""
_STATES_COPIES = 16
"""Numbers for each entry of a prompt token's hidden state within a layer, which is four times as
wide inside."""


@dataclass(frozen=True)
class Extent:
    """How long prompts and outputs are, and how many outputs share a prompt."""

    prompt: int
    """Tokens of the longest prompt."""
    output: int
    """Most tokens of an output."""
    num_samples: int
    """K, the outputs of each prompt."""


def bytes_per_output(model: PreTrainedModel, extent: Extent) -> float:
    """About what a model needs for one output while it is made, beside its weights.

    Where its configuration does not say how large it is, this is zero: too large a pass then shows
    when it fails.
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
    """The first of the names that the configuration has a number for."""
    found = (getattr(config, name, None) for name in names)
    return next((number for number in found if isinstance(number, int)), None)


def free_bytes(device: torch.device) -> float:
    """What can still be had of the device's memory; without limit elsewhere than on a CUDA GPU."""
    if device.type != "cuda":
        return math.inf
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(free + held)


class Passes:
    """Work on a grid of outputs, in as few passes as the device's memory allows.

    A pass that does not fit in spite of the estimate is halved, and so are all that follow.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most = math.inf
        """Outputs of a pass, as far as a lack of memory has shown."""

    def run(
        self,
        num_prompts: int,
        num_samples: int,
        work: Callable[[slice, slice], T],
        *,
        bytes_each: float,
    ) -> list[T]:
        """What ``work`` gives for parts of the grid, prompt by prompt.

        Args:
            num_prompts: B.
            num_samples: K, of each prompt; they part only where a single prompt's are too many.
            work: makes the outputs of some prompts, and of these some samples.
            bytes_each: about what an output needs.

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
