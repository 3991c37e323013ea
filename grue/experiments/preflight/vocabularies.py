"""Preflight checks that a tokenizer and a model have the same vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.key_paths import key_path
from common.plan.run import Run
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.preflight.cache import Answers
from grue.experiments.preflight.models import KnownModel, named, vocabulary_of
from grue.models.config import TokenizerConfig
from grue.models.loading import load_tokenizer
from grue.models.vocabulary import too_few_rows

KEY = "tokenizer.model_name"
_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True)
class KnownTokenizer:
    """A tokenizer in a folder, or of an earlier stage."""

    name: str
    source: str
    """Origin of the vocabulary, as in `KnownModel`."""
    ids: Mapping[str, int] | None = None
    """Tokens by id; None if a stage has yet to find them."""


def known_tokenizer(
    run: Run, answers: Answers, key: str = KEY
) -> KnownTokenizer | UserError | None:
    """Return the tokenizer that the run's ``key`` names.

    None for one that is neither local nor a stage's. A `UserError` is the reason why a folder holds
    none.
    """
    name = named(run.config, key)
    for reference in run.references:
        if key_path(reference.key) == key:
            if not reference.target.is_dir():
                return _of_stage(name, reference.run, answers)
            name = str(reference.target)
    return of_folder(name, answers) if Path(name).is_dir() else None


def of_folder(name: str, answers: Answers) -> KnownTokenizer | UserError:
    """Return the tokenizer of a local folder, or why there is none."""

    def look() -> KnownTokenizer:
        tokenizer = load_tokenizer(TokenizerConfig(model_name=name))
        return KnownTokenizer(name, str(Path(name).resolve()), tokenizer.get_vocab())

    return answers.once(("tokenizer", name), look)


def _of_stage(name: str, run: Run, answers: Answers) -> KnownTokenizer | UserError | None:
    """Return the tokenizer of the model that a run will make."""
    if isinstance(run.config, NewModelConfig):
        return KnownTokenizer(name, vocabulary_of(run.config))
    return known_tokenizer(run, answers) if hasattr(run.config, "tokenizer") else None


def misfit(
    tokenizer: KnownTokenizer, model: KnownModel, answers: Answers, *, own_weights: bool
) -> str | None:
    """Return why the tokenizer does not fit the model; None if it does or if it is unknown.

    With ``own_weights``, the model has learned the meaning of its ids.
    """
    if tokenizer.source == model.source and tokenizer.ids is None:
        return None
    if tokenizer.ids is not None and model.rows is not None:
        largest = max(tokenizer.ids.values(), default=-1)
        if largest >= model.rows:
            return too_few_rows(tokenizer.name, largest, model.name, model.rows)
    other = _first_other(tokenizer, model, answers) if own_weights else None
    return (
        None
        if other is None
        else (
            f"the tokenizer '{tokenizer.name}' has another vocabulary than the model '{model.name}'"
            f"{other}; take the tokenizer that the model was made with ('{KEY}')"
        )
    )


def _first_other(tokenizer: KnownTokenizer, model: KnownModel, answers: Answers) -> str | None:
    """Return an id of different tokens, in words; None if there is none."""
    if tokenizer.source == model.source:
        return None
    if not Path(model.source).is_dir():
        return "" if tokenizer.ids is None else None
    if tokenizer.ids is None or not any((Path(model.source) / file).exists() for file in _FILES):
        return None
    own = of_folder(model.source, answers)
    if isinstance(own, UserError) or own.ids is None:
        return None  # a model without a tokenizer of its own
    meant = {number: token for token, number in own.ids.items()}
    for token, number in tokenizer.ids.items():
        if meant.get(number, token) != token:
            return f": the id {number} is {token!r} for one and {meant[number]!r} for the other"
    return None
