"""Tokenizers that tasks load for their own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.machine.hub_offline import go_offline_if_unreachable, note_model, revision_option


def load_tokenizer(name: str, key: str, advice: str, revision: str | None = None) -> Any:
    """Return the tokenizer called ``name``, the value of ``key``, on the hub at ``revision``.

    Raises:
        UserError: there is no such tokenizer; ``advice`` ends the message.
    """
    from transformers import AutoTokenizer

    is_here = Path(name).is_dir()
    if not is_here:
        go_offline_if_unreachable()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **revision_option(revision))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"'{key}' = '{name}': cannot be loaded ({reason}){advice}") from error
    if not is_here:
        note_model(name, revision)
    return tokenizer
