"""Settings of the library's ``generate``: nothing is inherited from a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.generation_config import GenerationConfig
    from grue.policies.policy import Policy


def library_settings(policy: Policy, num_samples: int, settings: GenerationConfig) -> Any:
    """The library's own form of ``settings``, for K outputs of each prompt."""
    from transformers import GenerationConfig as LibrarySettings

    lengths = policy.lengths(settings)
    sampling = {
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
    }
    beams = {"length_penalty": settings.length_penalty} if settings.num_beams > 1 else {}
    return LibrarySettings(
        do_sample=settings.do_sample,
        num_beams=settings.num_beams,
        num_return_sequences=num_samples,
        min_new_tokens=lengths.fewest,
        max_new_tokens=lengths.most,
        pad_token_id=policy.tokenizer.pad_token_id or 0,
        eos_token_id=None if settings.ignore_eos else policy.ids.end,
        decoder_start_token_id=policy.ids.start,
        **(sampling if settings.do_sample else {}),
        **beams,
    )


@contextlib.contextmanager
def only_these(model: PreTrainedModel, settings: Any) -> Iterator[None]:
    """The library fills in what settings leave open from the model's own: here there are none."""
    own = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own
