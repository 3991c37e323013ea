"""Check that a model knows all ids of a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the model's embedding has a row for every id of the tokenizer.

    Raises:
        UserError: the tokenizer has ids beyond the end of the embedding.
    """
    embedding: Any = model.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        name = getattr(model, "name_or_path", "")
        raise UserError(too_few_rows(tokenizer.name_or_path, largest, name, rows))


def too_few_rows(tokenizer: str, largest: int, model: str, rows: int) -> str:
    """Return the problem of a tokenizer with ids up to ``largest``, and a model with fewer rows."""
    return (
        f"the tokenizer '{tokenizer}' has the ids 0 to {largest}, but the model '{model}' knows "
        f"0 to {rows - 1} alone; take the tokenizer that the model was made with "
        "('tokenizer.model_name'), or a model that knows as many"
    )
