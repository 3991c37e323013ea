"""Pretokenized prompts: samples that tasks deliver as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from grue.tasks.task import Sample

_LOOKED_AT = 100


def check_tokenizer_match(samples: Sequence[Sample], tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the samples' tokens are the tokenizer's: decoded, they are their prompts.

    Only the first pretokenized samples are checked, because all come from one tokenizer.

    Raises:
        UserError: the tokens come from another tokenizer.
    """
    carrying = [sample for sample in samples if sample.token_ids is not None]
    for sample in carrying[:_LOOKED_AT]:
        ids = list(sample.token_ids or ())
        text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if text != sample.prompt or max(ids) >= len(tokenizer):
            raise UserError(
                f"'datapool': the tokens of '{sample.id}' are another tokenizer's, and say "
                f"{text[:40]!r} to the policy, not {sample.prompt[:40]!r}; set "
                "'datapool.args.tokenizer' to the policy's"
            )
