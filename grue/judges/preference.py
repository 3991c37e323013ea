"""An encoder-decoder model that answers a text with one of two words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from common.attention_masks import masks_without_waits
from common.errors import UserError
from grue.judges.loading import check_folder, judge_device, judge_dtype
from grue.judges.options import JudgeArgs
from grue.policies.policy import Policy, by_length
from grue.policies.weights import loaded, pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LONGEST = 512
"""Tokens of a text that are read, as many as T5 was trained on."""


class Preference:
    """Asks the model what it would answer."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        answers: tuple[str, str],
        device: torch.device | str = "cpu",
        batch_size: int = 1,
    ) -> None:
        """``answers`` are known by their first tokens.

        Raises:
            UserError: these are the same.
        """
        self.policy = Policy(model.eval(), tokenizer, device)
        self.batch_size = batch_size
        self.answers = [ids[0] for ids in self.policy.encode(answers, _LONGEST)]
        if len(set(self.answers)) < len(answers):
            raise UserError(
                f"the tokenizer begins {' and '.join(map(repr, answers))} with the same token; "
                "give the model that was trained to answer with them"
            )

    @torch.no_grad()
    @masks_without_waits()
    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[N] probability of the first answer where it is one of the two; a text's end is cut.

        The host waits for the device once, at the end.
        """
        policy = self.policy
        rows = policy.encode(texts, _LONGEST, "right")
        found = np.zeros(len(rows))
        batches = list(by_length([len(ids) for ids in rows], self.batch_size))
        preferred = []
        first, second = self.answers
        for chosen in batches:
            prompts = policy.pad([rows[row] for row in chosen])
            start = torch.full_like(prompts.ids[:, :1], policy.ids.start or 0)
            answer = policy.model(
                input_ids=prompts.ids, attention_mask=prompts.mask, decoder_input_ids=start
            )
            logits = answer.logits[:, 0].double()
            preferred.append((logits[:, first] - logits[:, second]).sigmoid())
        if batches:
            found[np.concatenate(batches)] = torch.cat(preferred).cpu().numpy()
        return found


def load_preference(
    name: str, key: str, options: JudgeArgs, *, answers: tuple[str, str]
) -> Preference:
    """The model called ``name`` (the value of ``key``), ready to judge.

    Raises:
        UserError: there is none, it lacks weights, or its tokenizer cannot tell the answers apart.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    check_folder(name, key)
    disable_progress_bar()  # it would break through the plan's
    tokenizer = loaded(AutoTokenizer.from_pretrained, name, key)
    model = pretrained(AutoModelForSeq2SeqLM, name, key, dtype=judge_dtype(options))
    return Preference(
        model, tokenizer, answers=answers, device=judge_device(options),
        batch_size=options.batch_size,
    )  # fmt: skip
