"""Preference model: an encoder-decoder model that answers a text with one of two words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import UserError
from common.training.attention_masks import masks_without_waits
from grue.models.weights import check_report, hide_progress_bars, loaded, pretrained
from grue.policies.policy import Policy, by_length
from grue.scorers.loading import check_folder, scorer_device, scorer_dtype
from grue.scorers.options import ScorerArgs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedModel:
    """A published model that consists of weights alone."""

    architecture: str
    """Hub id of its configuration and tokenizer."""
    url: str
    """URL of its weights, a file saved by torch."""


PUBLISHED = {
    "11b": PublishedModel(
        "google-t5/t5-11b",
        "https://storage.googleapis.com/ai2-jack-public/rl4lms_preference_models/"
        "t5-11b~commongen_prefs.pt",
    )
}
"""Published models of CommonGen's preferences, by ``model_type``."""
_LONGEST = 512
"""Number of tokens that are read of a text, the input length of T5's training."""


class Preference:
    """Preference model with its tokenizer and its two answers."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        answers: tuple[str, str],
        device: torch.device | str = "cpu",
        batch_size: int = 1,
    ) -> None:
        """Set the ``answers``, which are compared by their first tokens.

        Raises:
            UserError: both have the same first token.
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
        """Return [N] the probability of the first answer, given that it is one of the two.

        Long texts are truncated at their end. The host waits for the device once, at the end.
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
    name: str,
    key: str,
    options: ScorerArgs,
    *,
    answers: tuple[str, str],
    revision: str | None = None,
) -> Preference:
    """Return the model called ``name`` (the value of ``key``), in evaluation mode.

    ``revision`` is the branch, tag or commit of a hub id; None for the default.

    Raises:
        UserError: there is no such model, it lacks weights, or its tokenizer cannot tell the
            answers apart.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    check_folder(name, key)
    hide_progress_bars()
    tokenizer = loaded(AutoTokenizer.from_pretrained, name, key, revision=revision)
    kind = AutoModelForSeq2SeqLM
    model = pretrained(kind, name, key, revision=revision, dtype=scorer_dtype(options))
    return _judging(model, tokenizer, options, answers)


def load_published_preference(
    name: str, key: str, options: ScorerArgs, *, answers: tuple[str, str]
) -> Preference:
    """Return the published model called ``name`` (the value of ``key``). It is downloaded once.

    Raises:
        UserError: it cannot be downloaded, or differs from the published file.
    """
    from transformers import AutoConfig, AutoTokenizer, T5ForConditionalGeneration

    kind: Any = T5ForConditionalGeneration
    published = PUBLISHED[name]
    log.info("reads the published preference model '%s' (44 GB, downloaded once)", name)
    architecture = published.architecture
    tokenizer = loaded(AutoTokenizer.from_pretrained, architecture, key)
    config = loaded(AutoConfig.from_pretrained, architecture, key)
    try:
        state = _downloaded(published.url)
        config.vocab_size = len(state["shared.weight"])  # the published one lacks unused rows
        model, report = kind.from_pretrained(
            None, config=config, state_dict=state, dtype=scorer_dtype(options),
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"'{key}' = '{name}': the published weights, {published.url}, cannot be loaded "
            f"({reason}); give 'model_name', a folder in Hugging Face layout or a hub id"
        ) from error
    check_report(model, report, f"'{key}' = '{name}'", new_head=False)
    return _judging(model, tokenizer, options, answers)


def _downloaded(url: str) -> Any:
    """Return the weights by name, from torch's cache if they are there."""
    found = torch.hub.load_state_dict_from_url(
        url, map_location="cpu", progress=False, weights_only=True
    )
    return found.get("model_state_dict", found)


def _judging(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    options: ScorerArgs,
    answers: tuple[str, str],
) -> Preference:
    return Preference(
        model, tokenizer, answers=answers, device=scorer_device(options),
        batch_size=options.batch_size,
    )  # fmt: skip
