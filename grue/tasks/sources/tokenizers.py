"""Tokenizers that tasks load for their own data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.machine.hub import go_offline_if_unreachable


def load_tokenizer(name: str, key: str, advice: str) -> Any:
    """Return the tokenizer called ``name``, the value of ``key``.

    Raises:
        UserError: there is no such tokenizer; ``advice`` ends the message.
    """
    from transformers import AutoTokenizer

    if not Path(name).is_dir():
        go_offline_if_unreachable()
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"'{key}' = '{name}': cannot be loaded ({reason}){advice}") from error
