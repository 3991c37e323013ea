"""Whether a model knows all ids of a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.documents import json_object
from common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Looks whether the model's embedding has a row for every id of the tokenizer.

    Raises:
        UserError: it has not, so that the ids would be looked up behind its end.
    """
    _compare(
        tokenizer,
        int(model.get_input_embeddings().weight.shape[0]),
        getattr(model, "name_or_path", ""),
    )


def check_vocabulary_of(folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Like `check_vocabulary`, of a model's folder, from its configuration alone.

    Raises:
        UserError: it knows fewer ids. A folder that does not say how many is told of elsewhere.
    """
    try:
        text = (Path(folder) / "config.json").read_text(encoding="utf-8")
        rows = json_object(text).get("vocab_size")
    except (OSError, ValueError):
        return
    if isinstance(rows, int):
        _compare(tokenizer, rows, folder)


def _compare(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise UserError(
            f"the tokenizer '{tokenizer.name_or_path}' has the ids 0 to {largest}, but the model "
            f"'{name}' knows 0 to {rows - 1} alone; take the tokenizer that the model was made "
            "with ('tokenizer.model_name'), or a model that knows as many"
        )
