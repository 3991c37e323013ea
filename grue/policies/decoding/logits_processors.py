"""The library's logits processors and filters, for the project's own decoding loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grue.policies.decoding.sampling import Filters
from grue.policies.decoding.steps import Ids, Rows
from grue.policies.hf_generation_keys import PROCESSORS, WARPERS
from grue.policies.padding import Prompts

if TYPE_CHECKING:
    from grue.policies.generation_config import GenerationConfig

Process = Callable[[Tensor, Tensor], Tensor]
"""Function of the ids before the next token [N, T] and its logits [N, V] that returns scores [N,
V]."""


@dataclass(frozen=True)
class Shaping:
    """Logits processors that further generation keys ask for."""

    keys: dict[str, Any]
    """Further keys of the library's generation configuration."""
    most: int
    """Largest number of tokens of an output."""
    end: int | None
    """Id of end-of-sequence."""

    def process(self, length: int, device: torch.device | None = None) -> Process:
        """Return the library's processors for outputs after ``length`` prompt tokens."""
        return _of_library(self.keys, length=length, most=self.most, end=self.end, device=device)


def shaping(settings: GenerationConfig, most: int, end: int | None) -> Shaping | None:
    """Return the processors of the settings; None where there are none.

    Raises:
        ValueError: the library refuses a value.
        TypeError: the library refuses a value.
    """
    keys = {name: value for name, value in settings.further.items() if name in PROCESSORS}
    found = Shaping(keys, most, end)
    if keys:
        found.process(1)
    return found if keys else None


def filters_of(settings: GenerationConfig) -> Filters | None:
    """Return the filters of sampling; None for greedy decoding.

    Raises:
        ValueError: the library refuses a value.
        TypeError: the library refuses a value.
    """
    if not settings.do_sample:
        return None
    own = {name: getattr(settings, name) for name in ("temperature", "top_k", "top_p")}
    keys = {name: value for name, value in settings.further.items() if name in WARPERS}
    if not keys:
        return Filters(**own)
    process = _of_library({**own, **keys}, do_sample=True)
    # Warpers, unlike processors, do not look at the ids before.
    return Filters(of_library=lambda logits: process(None, logits))  # type: ignore[arg-type]


class Shaped:
    """Processes the logits of a batch of outputs.

    Each output is processed with the ids of its own prompt and tokens, without padding, so that
    samples do not depend on the batch. Outputs of prompts of equal length are processed together.
    """

    def __init__(self, shaping: Shaping, prompts: Prompts, ids: Ids, num_samples: int) -> None:
        """Make the processors for K outputs of each of B prompts."""
        self._num_samples = num_samples
        self._before = prompts.ids
        lengths = prompts.mask.sum(-1)
        if ids.start is not None:
            self._before = torch.full_like(prompts.ids[:, :1], ids.start)
            lengths = torch.ones_like(lengths)
        self._groups = {
            length: (lengths == length, shaping.process(length, lengths.device))
            for length in sorted(set(lengths.tolist()))
        }
        self._rows: Rows | None = None
        self._places: dict[int, Tensor] = {}

    def __call__(self, logits: Tensor, rows: Rows, drawn: Tensor) -> Tensor:
        """Return [N, V] scores of the outputs at ``rows`` from all ``drawn`` tokens [B * K, T]."""
        shaped = logits.to(torch.float32, copy=True)
        prompt = rows.outputs // self._num_samples
        if rows is not self._rows:  # finding them is a wait for the device
            self._rows = rows
            self._places = {
                length: of_length[prompt].nonzero().squeeze(-1)
                for length, (of_length, _) in self._groups.items()
            }
        for length, (_, process) in self._groups.items():
            here = self._places[length]
            if len(here):
                before = self._before[prompt[here], -length:]
                context = torch.cat([before, drawn[rows.outputs[here]]], -1)
                shaped[here] = process(context, shaped[here])
        return shaped


def _of_library(
    keys: dict[str, Any],
    *,
    do_sample: bool = False,
    length: int = 1,
    most: int = 1,
    end: int | None = None,
    device: torch.device | None = None,
) -> Process:
    """Return the library's processors for its own ``keys``, in its own order."""
    from transformers import GenerationConfig as LibrarySettings
    from transformers import GenerationMixin

    class OfNoModel(GenerationMixin):
        """Minimal stand-in for a model: the library asks it for the processors."""

        config = SimpleNamespace(is_encoder_decoder=True)

    settings: Any = LibrarySettings(do_sample=do_sample, max_length=length + most, **keys)
    settings._eos_token_tensor = None if end is None else torch.tensor([end], device=device)
    model: Any = OfNoModel()
    found: Process = model._get_logits_processor(
        settings, input_ids_seq_length=length, device=device
    )
    return found
