"""Perplexity of the references under the policy that is being trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from common.config.base import IGNORED, NO_EFFECT, Config, OptionalText
from common.config.fit import PositiveInt
from common.errors import UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy


class CausalPerplexityArgs(Config):
    """Keys of the perplexity."""

    stride: PositiveInt
    """Number of tokens from one window to the next; limited to the window's length."""
    max_length: PositiveInt | None = None
    """Number of tokens of a window; None for all positions of the model."""
    use_text_from_meta_data: bool = False
    """If true, the text is the metadata's ``reference`` instead of the references."""
    tokenizer_id: Annotated[OptionalText, IGNORED, NO_EFFECT] = None
    """Accepted from published files and ignored: the policy's own tokenizer is used."""
    model_type: Annotated[Literal["causal"], NO_EFFECT] = "causal"
    """Architecture of the model, which must be causal."""


@METRICS.register("causal_perplexity")
class CausalPerplexity(Metric[CausalPerplexityArgs]):
    """Perplexity of the policy on all references, joined by blank lines.

    Undefined for training data. It measures the model and not its outputs, so single outputs have
    no score.
    """

    names = ("fluency_metrics/perplexity",)
    Args = CausalPerplexityArgs
    has_scores: ClassVar[bool] = False

    def __init__(self, args: CausalPerplexityArgs) -> None:
        super().__init__(args)
        self.needs_references = not args.use_text_from_meta_data

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Refuse: single outputs have no perplexity here.

        Raises:
            UserError: always.
        """
        raise UserError(
            "'causal_perplexity' measures the model, not single outputs; take it out here: it is "
            "for evaluations of a finetuning run"
        )

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the perplexity of ``policy``.

        Raises:
            UserError: the policy is an encoder-decoder model, its window has no limit, or there is
                not enough text.
        """
        if split == "train":
            return {}
        if policy is None:
            raise UserError("'causal_perplexity' measures a policy, and none is given")
        from grue.scorers.perplexity import perplexity

        window = self._window(policy)
        ids = policy.tokenizer("\n\n".join(self._references(texts)), verbose=False)["input_ids"]
        found = perplexity(policy.model, ids, window, min(self.args.stride, window))
        if math.isnan(found):
            raise UserError("'causal_perplexity': the references have fewer than two tokens")
        return {"fluency_metrics/perplexity": found}

    def _window(self, policy: Policy) -> int:
        if policy.is_encoder_decoder:
            raise UserError(
                "'causal_perplexity' is for causal models, and the policy is an encoder-decoder; "
                "take it out of the metrics"
            )
        limits = [limit for limit in (self.args.max_length, policy.longest) if limit is not None]
        if not limits:
            raise UserError(
                "'causal_perplexity': the model has no greatest length; set 'max_length'"
            )
        return min(limits)

    def _references(self, texts: Texts) -> list[str]:
        if not self.args.use_text_from_meta_data:
            texts.check_references("causal_perplexity")
            return [reference for references in texts.references for reference in references]
        found = [metadata.get("reference") for metadata in texts.metadata]
        if not all(isinstance(text, str) for text in found):
            raise UserError(
                "'use_text_from_meta_data': an input has no text 'reference' in its metadata; "
                "set it to false"
            )
        return [str(text) for text in found]
