"""Chat prompts: messages in the text that a tokenizer's chat template makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from grue.tasks.task import Sample


def chats_of(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerBase) -> list[str] | None:
    """Return the samples' messages as texts; None if the samples are plain texts or tokens.

    A text has the special tokens of the template, and ends where the answer begins.

    Raises:
        UserError: the tokenizer has no chat template, the template refuses the messages, or only
            some samples have messages.
    """
    if not are_chats(samples):
        return None
    check_template(tokenizer)
    return [_written(sample.messages or (), tokenizer) for sample in samples]


def are_chats(samples: Sequence[Sample]) -> bool:
    """Return whether the samples are chat messages.

    Raises:
        UserError: only some are.
    """
    count = sum(sample.messages is not None for sample in samples)
    if 0 < count < len(samples):
        raise UserError(
            f"'datapool': {count} of {len(samples)} samples are chat messages; give all or none as "
            "'messages'"
        )
    return count > 0


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the tokenizer has a chat template.

    Raises:
        UserError: it has none.
    """
    if not tokenizer.chat_template:
        raise UserError(without_template(tokenizer.name_or_path))


def without_template(name: str) -> str:
    """Return the message about a tokenizer without a chat template."""
    return (
        f"the tokenizer '{name}' has no chat template; take that of an instruct model "
        "('tokenizer.model_name'), or set 'datapool.args.chat_template' = false"
    )


def _written(chat: Sequence[Any], tokenizer: PreTrainedTokenizerBase) -> str:
    import jinja2

    try:
        text: Any = tokenizer.apply_chat_template(
            [dict(message) for message in chat], tokenize=False, add_generation_prompt=True
        )
    except jinja2.TemplateError as error:
        raise UserError(
            f"the chat template of the tokenizer '{tokenizer.name_or_path}' refuses the messages "
            f"({error}); where it knows no system message, leave 'datapool.args.system_prompt' out"
        ) from error
    return str(text)
