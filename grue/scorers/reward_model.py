"""Reward models, which rate a response to a prompt, and the folder of a trained one."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import UserError
from common.files.documents import json_object
from common.machine.hub_offline import revision_option
from grue.policies.chat import check_template
from grue.scorers.classifier import Classifier, load_classifier
from grue.scorers.loading import check_folder, num_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grue.models.config import Side
    from grue.scorers.options import ScorerArgs

Floats = NDArray[np.float64]
Output = Literal["score", "ratings"]

FILE = "reward_model.json"


@dataclass(frozen=True)
class RewardSpec:
    """Inputs of a reward model, and the formula of its reward.

    The reward is ``gain * x + bias``. For ``score``, x is the only logit. For ``ratings``, the k
    logits are the distribution of a rating 1 ... k, and x is its mean.
    """

    output: Output = "score"
    separator: str = " "
    """Separator between prompt and response, if neither has white space there."""
    max_length: int | None = None
    """Largest number of tokens that are read; None for as many as the model can."""
    gain: float = 1.0
    bias: float = 0.0

    def text(self, prompt: str, response: str) -> str:
        """Return the text that the model reads."""
        touching = prompt and response and not (prompt[-1].isspace() or response[0].isspace())
        return f"{prompt}{self.separator if touching else ''}{response}"

    def as_json(self) -> str:
        """Return the content of the folder's file `FILE`."""
        return json.dumps(asdict(self), indent=2) + "\n"


class RewardModel:
    """Reward model: prompts and responses in, rewards out, with its own tokenizer."""

    def __init__(self, classifier: Classifier, spec: RewardSpec) -> None:
        self.classifier = classifier
        self.spec = spec

    def moments(self, prompts: Sequence[str], responses: Sequence[str]) -> tuple[Floats, Floats]:
        """Return [N] mean and [N] standard deviation of the reward.

        The deviation of a score is 0.
        """
        pairs = zip(prompts, responses, strict=True)
        return self.moments_of_logits(
            self.classifier.logits([self.spec.text(*pair) for pair in pairs])
        )

    def moments_of_chats(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """Return `moments` of responses to prompts as messages, by the model's chat template.

        Raises:
            UserError: the model's tokenizer has no chat template.
        """
        tokenizer = self.classifier.tokenizer
        check_template(tokenizer)
        begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
        added = str(tokenizer.bos_token) if begins else ""  # which is not to be there twice
        texts: list[str] = []
        for prompt, response in zip(prompts, responses, strict=True):
            messages = [{"role": "user", "content": prompt},
                        {"role": "assistant", "content": response}]  # fmt: skip
            text = str(tokenizer.apply_chat_template(messages, tokenize=False))
            texts.append(text.removeprefix(added))
        return self.moments_of_logits(self.classifier.logits(texts))

    def moments_of_logits(self, logits: Floats) -> tuple[Floats, Floats]:
        """Return the mean and standard deviation of the reward, for logits [..., C]."""
        gain, bias = self.spec.gain, self.spec.bias
        if self.spec.output == "score":
            means: Floats = gain * logits[..., 0] + bias
            return means, np.zeros_like(means)
        means, stds = (part.numpy() for part in rating_moments(torch.from_numpy(logits)))
        return gain * means + bias, abs(gain) * stds


def load_reward_model(
    name: str,
    key: str,
    options: ScorerArgs,
    output: Output | None = None,
    *,
    revision: str | None = None,
    max_length: int | None = None,
    truncation_side: Side = "left",
) -> RewardModel:
    """Return the reward model called ``name`` (the value of ``key``), in evaluation mode.

    ``revision`` is the branch, tag or commit of a hub id; None for the default.
    ``output`` is the kind of output of a model without `FILE`, see `read_spec`. Texts of more than
    ``max_length`` tokens (None for the model's own maximum) are truncated on ``truncation_side``.

    Raises:
        UserError: there is no such model, or it is no reward model.
    """
    spec = read_spec(name, key, output, revision)
    limit = max_length or spec.max_length
    classifier = load_classifier(
        name,
        key,
        options,
        revision=revision,
        max_length=limit,
        truncation_side=truncation_side,
    )
    check_outputs(spec, classifier.num_labels, name, key)
    return RewardModel(classifier, spec)


def check_reward_folder(name: str, key: str, output: Output | None) -> None:
    """Check a local reward model without loading it.

    Raises:
        UserError: the folder does not exist, lacks weights, or is no reward model.
    """
    config: Mapping[str, Any] = check_folder(name, key)
    if config:
        check_outputs(read_spec(name, key, output), num_labels(config), name, key)


def read_spec(
    name: str, key: str, output: Output | None, revision: str | None = None
) -> RewardSpec:
    """Return the specification in the file of the folder, or of the hub id at ``revision``.

    A sequence classifier from elsewhere has no such file; ``output`` is then the meaning of its
    logits.

    Raises:
        UserError: there is no file and ``output`` is None, or the file is invalid.
    """
    text = _spec_text(name, revision)
    if text is None:
        if output is not None:
            return RewardSpec(output)
        raise UserError(
            f"'{key}' = '{name}': is no reward model, for it has no {FILE}; name one that the "
            "experiment 'reward_model' made, such as \"@rm.model\". Of a reward model from "
            "elsewhere, say with 'output' what its logits are; a classifier is for 'learned_reward'"
        )
    try:
        return RewardSpec(**json_object(text))
    except (TypeError, ValueError) as error:
        raise UserError(f"'{key}' = '{name}': its {FILE} cannot be read: {error}") from error


def check_outputs(spec: RewardSpec, count: int, name: str, key: str) -> None:
    """Raise `UserError` if the number of a model's logits does not fit its kind of output."""
    if (spec.output == "score") != (count == 1):
        wanted = "one" if spec.output == "score" else "one per rating, two at least"
        raise UserError(
            f"'{key}' = '{name}': has {count} logit{'s' * (count > 1)}, but its output is "
            f"'{spec.output}', which needs {wanted}"
        )


def _spec_text(name: str, revision: str | None) -> str | None:
    folder = Path(name).expanduser()
    if folder.is_dir():
        file = folder / FILE
        return file.read_text(encoding="utf-8") if file.exists() else None
    from transformers.utils.hub import cached_file

    find = functools.partial(cached_file, _raise_exceptions_for_missing_entries=False)
    try:
        found = find(name, FILE, **revision_option(revision))
    except OSError:
        return None
    return None if found is None else Path(found).read_text(encoding="utf-8")


def rating_moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [...] of the rating 1 ... k with logits [..., k]."""
    probs = logits.softmax(-1)
    ratings = torch.arange(1, logits.shape[-1] + 1, device=logits.device, dtype=logits.dtype)
    means = (probs * ratings).sum(-1)
    variances = (probs * (ratings - means[..., None]).square()).sum(-1)
    return means, variances.sqrt()
