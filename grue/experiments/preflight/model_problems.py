"""Preflight checks of models, tokenizers and output lengths that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import Problem, UserError
from common.plan.run import Run
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.extract.config import ExtractAlg, ExtractConfig, ServedAlg
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.preflight import vocabularies
from grue.experiments.preflight.cache import Answers
from grue.experiments.preflight.generations import generations
from grue.experiments.preflight.models import KnownModel, known_model, named
from grue.experiments.preflight.names import why_not_here
from grue.experiments.preflight.vocabularies import KnownTokenizer, known_tokenizer
from grue.experiments.reward_model.config import RewardModelConfig
from grue.models.config import ModelType
from grue.policies.config import CRITICS
from grue.runs.config import TextConfig
from grue.supervised.config import SupervisedAlg


@dataclass(frozen=True)
class Wanted:
    """A model that a run loads."""

    key: str
    init_key: str | None = None
    """Key that asks for random weights; None if the model's own are needed."""
    init: str = "pretrained"
    type: ModelType | None = None
    """Architecture; None if both are allowed, and the model need not generate text."""
    type_key: str = ""
    """Key of the architecture."""
    type_value: str = ""
    """Value of that key."""
    shares_tokenizer: bool = True
    """True if it reads the ids of the run's tokenizer."""


def model_problems(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of the run's models and its tokenizer, as far as they are known."""
    config = run.config
    assert isinstance(config, TextConfig)
    tokenizer = known_tokenizer(run, answers)
    yield from _of_name(run, vocabularies.KEY, answers)
    if isinstance(tokenizer, UserError):
        yield Problem(str(tokenizer))
    for wanted in wanted_models(config):
        model = known_model(run, wanted.key, answers)
        name = named(config, wanted.key)
        if isinstance(model, UserError):
            yield Problem(str(model), wanted.key, name)
        elif model is None:
            yield from _of_name(run, wanted.key, answers)
        else:
            yield from _of_model(model, wanted, name)
            yield from _of_positions(model, wanted, config)
            if wanted.shares_tokenizer and isinstance(tokenizer, KnownTokenizer):
                own = wanted.init == "pretrained"
                wrong = vocabularies.misfit(tokenizer, model, answers, own_weights=own)
                if wrong is not None:
                    yield Problem(wrong)


def wanted_models(config: TextConfig) -> Iterator[Wanted]:
    """Yield the models that a run loads, without those of rewards and metrics."""
    if isinstance(config, ClassifierConfig | RewardModelConfig):
        yield Wanted("alg.model_name", "alg.init", config.alg.init)
        if isinstance(config, RewardModelConfig) and config.normalize is not None:
            kind = config.normalize.model_type
            yield Wanted("normalize.model_name", None, "pretrained", kind, "normalize.model_type",
                         kind, shares_tokenizer=False)  # fmt: skip
    elif isinstance(config, ExtractConfig | FinetuneConfig):
        alg = config.alg
        if isinstance(alg, ServedAlg):
            return
        written = "alg.policy.init", alg.policy.init, alg.model_type
        if isinstance(alg, ExtractAlg | SupervisedAlg):
            yield Wanted("alg.model_name", *written, "alg.model_type", alg.model_type)
            return
        of_policy = "alg.policy.id", alg.policy.id
        yield Wanted("alg.policy.args.model_name", *written, *of_policy)
        if alg.policy.critic not in CRITICS:
            yield Wanted("alg.policy.critic", *written, *of_policy)


def _of_name(run: Run, key: str, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of a name that is no local folder, no stage's file and no hub id."""
    name = named(run.config, key)
    if name.startswith("@") or Path(name).is_dir():
        return
    at = f"{key}_revision" if key.endswith("critic") else key.replace("model_name", "revision")
    revision = named(run.config, at)
    wrong = answers.once(("name", name, revision), lambda: why_not_here(name, revision))
    if wrong is not None:
        yield Problem(str(wrong), key, name)


def _of_model(model: KnownModel, wanted: Wanted, name: str) -> Iterator[Problem]:
    """Yield the problems of models without weights, of the other architecture, or without text."""
    if wanted.init == "pretrained" and not model.has_weights:
        advice = "give one that does"
        if wanted.init_key is not None:
            advice = f"set {wanted.init_key}=random to begin with random ones"
        yield Problem(f"the folder holds no weights; {advice}", wanted.key, name)
    if wanted.type is None:
        return
    if model.use != "writes":
        yield Problem(f"is a model that {model.use} texts and writes none; name one that writes",
                      wanted.key, name)  # fmt: skip
    elif model.type != wanted.type:
        right = wanted.type_value.replace(wanted.type, model.type)
        advice = f"set it to '{right}'" if right != wanted.type_value else "take another"
        yield Problem(f"'{name}' is a {model.type} model; {advice}", wanted.type_key,
                      wanted.type_value)  # fmt: skip


def _of_positions(model: KnownModel, wanted: Wanted, config: TextConfig) -> Iterator[Problem]:
    """Yield the problem of outputs that leave no room for a prompt, or exceed a decoder."""
    if model.positions is None or wanted.type is None:
        return
    room = model.positions - (1 if model.type == "causal" else 0)
    for generation in generations(config, model.type):
        if generation.of_model(wanted.key) and generation.most > room:
            yield Problem(
                f"leaves no room for a prompt among the model's {model.positions} positions; "
                f"lower it to {room} or less" if model.type == "causal" else
                f"is more than the decoder's {model.positions} positions; lower it",
                generation.key, generation.value,
            )  # fmt: skip
