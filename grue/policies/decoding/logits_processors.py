"""The library's processors and filters of logits, for the project's own decoding loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grue.policies.decoding.sampling import Filters
from grue.policies.decoding.steps import Ids, Rows
from grue.policies.library_keys import PROCESSORS, WARPERS
from grue.policies.padding import Prompts

if TYPE_CHECKING:
    from grue.policies.generation_config import GenerationConfig

Process = Callable[[Tensor, Tensor], Tensor]
"""Scores [N, V] of the next token, of the ids before it [N, T] and its logits [N, V]."""


@dataclass(frozen=True)
class Shaping:
    """What further keys of generation do to the logits before a token is drawn."""

    keys: dict[str, Any]
    """Those of the library's processors."""
    most: int
    """Most tokens of an output."""
    end: int | None
    """End-of-sequence."""

    def process(self, length: int, device: torch.device | None = None) -> Process:
        """The library's processors on a device, for outputs with ``length`` tokens before them."""
        return _of_library(self.keys, length=length, most=self.most, end=self.end, device=device)


def shaping(settings: GenerationConfig, most: int, end: int | None) -> Shaping | None:
    """The processors of the settings; None where there are none.

    Raises:
        ValueError: the library refuses a value.
        TypeError: likewise.
    """
    keys = {name: value for name, value in settings.further.items() if name in PROCESSORS}
    found = Shaping(keys, most, end)
    if keys:
        found.process(1)
    return found if keys else None


def filters_of(settings: GenerationConfig) -> Filters | None:
    """How tokens are drawn; None takes the most probable one.

    Raises:
        ValueError: the library refuses a value.
        TypeError: likewise.
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

    Each output's ids are its own prompt's with what was drawn, without padding, so that what is
    drawn does not depend on the batch. Outputs of prompts with equal lengths go together.
    """

    def __init__(self, shaping: Shaping, prompts: Prompts, ids: Ids, num_samples: int) -> None:
        """For K outputs of each of B prompts."""
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
        """[N, V] scores of the outputs at ``rows``; ``drawn`` [B * K, T] are all tokens so far."""
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
    """The library's processors for its own ``keys``, in its own order."""
    from transformers import GenerationConfig as LibrarySettings
    from transformers import GenerationMixin

    class OfNoModel(GenerationMixin):
        """The library asks a model for them, of which it needs this alone."""

        config = SimpleNamespace(is_encoder_decoder=True)

    settings: Any = LibrarySettings(do_sample=do_sample, max_length=length + most, **keys)
    settings._eos_token_tensor = None if end is None else torch.tensor([end], device=device)
    model: Any = OfNoModel()
    found: Process = model._get_logits_processor(
        settings, input_ids_seq_length=length, device=device
    )
    return found
