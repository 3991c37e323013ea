"""What can be known of text runs' data, models and parts before the first of them starts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.documents import json_object
from common.errors import Problem, UserError
from common.identity import fingerprint
from common.nested import key_path
from common.plan import Run
from common.user_code import naming
from grue.algorithm_config import SupervisedAlg
from grue.config import DatapoolConfig, ExtractAlg, ExtractConfig, FinetuneConfig, TextConfig
from grue.generation_config import GenerationConfig
from grue.inputs import load_inputs
from grue.model_config import ModelType, TokenizerConfig
from grue.part_config import MetricConfig, RewardConfig, TaskConfig
from grue.policies.loading import load_tokenizer
from grue.policies.vocabulary import check_vocabulary_of
from grue.policies.weights import has_weights
from grue.policy_config import CRITICS
from grue.truncation import token_id

Question = tuple[Hashable, Callable[[], Iterator[Problem]]]
"""Something to look at, and a key by which it is looked at once for all runs."""


@dataclass(frozen=True)
class _Model:
    """A model to load."""

    key: str
    name: str
    init: str
    """As in `ModelOptions`."""
    type: ModelType
    type_key: str
    """Where the configuration says the type."""
    type_value: str
    """How it says it."""


def check(runs: Sequence[Run]) -> list[Problem]:
    """Everything wrong with the data, models and parts that ``runs`` name, as far as they are here.

    What an earlier stage makes, and what the hub has, is looked at when a run needs it.
    """
    answers: dict[Hashable, list[Problem]] = {}
    problems: list[Problem] = []
    for run in runs:
        assert isinstance(run.config, TextConfig)
        elsewhere = {key_path(reference.key) for reference in run.references}
        for key, look in _questions(run.config, elsewhere):
            if key not in answers:
                answers[key] = list(look())
            problems += [problem.at(run.where) for problem in answers[key]]
    return problems


def _questions(config: TextConfig, elsewhere: set[str]) -> Iterator[Question]:
    """What to look at for one run; the files of the keys ``elsewhere`` are still to be made."""
    if not any(name.startswith("datapool.args.") for name in elsewhere):
        yield _of_part("task", config.datapool), lambda: _data(config.datapool)
        if isinstance(config, FinetuneConfig) and isinstance(config.alg, SupervisedAlg):
            given = config.alg.training_args
            batch = given.get("dataloader_drop_last"), given.get("per_device_train_batch_size")
            yield (
                (_of_part("rows", config.datapool), repr(batch)),
                (lambda: _rows(config.datapool, given)),
            )
    if "tokenizer.model_name" not in elsewhere:
        yield config.tokenizer, lambda: _tokenizer(config.tokenizer)
        for key, token in _truncate_tokens(config):
            asked = config.tokenizer, key, token
            yield asked, lambda it=asked: _truncate_token(*it)
    for key, settings in _generation(config):
        if settings.further:
            yield (
                ("generation", key, repr(settings)),
                (lambda k=key, s=settings: _values_of_library(k, s)),
            )
    for model in _models(config):
        if model.key not in elsewhere:
            yield model, lambda m=model: _model(m)
            if "tokenizer.model_name" not in elsewhere:
                both = config.tokenizer, model.name
                yield both, lambda b=both: vocabulary(*b)
    for key, part in _parts(config):
        if not any(name.startswith(f"{key}.") for name in elsewhere):
            yield (key, _of_part(key, part)), lambda k=key, p=part: _part(k, p)
    if isinstance(config, FinetuneConfig):
        algorithm = fingerprint(config.alg.model_dump(mode="json"))
        yield (algorithm, bool(config.gpu_ids)), lambda: _algorithm(config)


def _of_part(kind: str, part: TaskConfig | MetricConfig | RewardConfig) -> Hashable:
    return kind, fingerprint(part.model_dump(mode="json"))


def _models(config: TextConfig) -> Iterator[_Model]:
    """The models to load: the policy, and a critic with a name of its own."""
    if not isinstance(config, ExtractConfig | FinetuneConfig):
        return
    alg = config.alg
    if isinstance(alg, ExtractAlg | SupervisedAlg):
        said = (alg.policy.init, alg.model_type, "alg.model_type", alg.model_type)
        yield _Model("alg.model_name", alg.model_name, *said)
        return
    said = (alg.policy.init, alg.model_type, "alg.policy.id", alg.policy.id)
    yield _Model("alg.policy.args.model_name", alg.policy.args.model_name, *said)
    if alg.policy.critic not in CRITICS:
        yield _Model("alg.policy.critic", alg.policy.critic, *said)


def _parts(config: TextConfig) -> Iterator[tuple[str, MetricConfig | RewardConfig]]:
    """The metrics and the reward, with their keys."""
    if isinstance(config, ExtractConfig):
        metrics, key = config.evaluation.metrics, "evaluation.metrics"
    elif isinstance(config, FinetuneConfig):
        metrics, key = config.train_evaluation.metrics, "train_evaluation.metrics"
        if config.reward_fn is not None:
            yield "reward_fn", config.reward_fn
    else:
        return
    for position, metric in enumerate(metrics):
        yield f"{key}[{position}]", metric


def _data(config: DatapoolConfig) -> Iterator[Problem]:
    """Local data that cannot be read; the hub's is read by the run."""
    if config.args.get("path") is None:
        return
    try:
        load_inputs(config, "train", seed=0)
    except UserError as error:
        yield Problem(str(error))


def _rows(config: DatapoolConfig, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Local data of which supervised finetuning has no batch to train on."""
    if config.args.get("path") is None:
        return
    from grue.algorithms.supervised import check_count
    from grue.training_rows import check_references

    try:
        samples = load_inputs(config, "train", seed=0).samples
    except UserError:
        return  # which is told of the data themselves
    try:
        check_count(check_references(samples), given)
    except UserError as error:
        yield Problem(str(error))


def _tokenizer(config: TokenizerConfig) -> Iterator[Problem]:
    if Path(config.model_name).is_dir():
        try:
            load_tokenizer(config)
        except UserError as error:
            yield Problem(str(error))


def vocabulary(config: TokenizerConfig, name: str) -> Iterator[Problem]:
    """A local tokenizer with ids that the local model called ``name`` does not know."""
    if Path(config.model_name).is_dir() and Path(name).is_dir():
        try:
            tokenizer = load_tokenizer(config)
        except UserError:
            return  # which is told of the tokenizer itself
        try:
            check_vocabulary_of(name, tokenizer)
        except UserError as error:
            yield Problem(str(error))


def _generation(config: TextConfig) -> Iterator[tuple[str, GenerationConfig]]:
    """How outputs are generated, with the keys that say it."""
    settings: dict[str, GenerationConfig | None] = {}
    if isinstance(config, ExtractConfig):
        settings["alg.generation_kwargs"] = config.alg.generation_kwargs
    elif isinstance(config, FinetuneConfig):
        evaluation = config.train_evaluation.generation_kwargs
        settings["train_evaluation.generation_kwargs"] = evaluation
        if isinstance(config.alg, SupervisedAlg):
            settings["alg.generation_kwargs"] = config.alg.generation_kwargs
        else:
            own = config.alg.policy.args.generation_kwargs
            settings["alg.policy.args.generation_kwargs"] = own
    yield from ((key, found) for key, found in settings.items() if found is not None)


def _truncate_tokens(config: TextConfig) -> Iterator[tuple[str, int | str]]:
    """The tokens at which outputs end for rewards and metrics, with their keys."""
    for key, found in _generation(config):
        if found.truncate_token is not None:
            yield f"{key}.truncate_token", found.truncate_token


def _values_of_library(key: str, settings: GenerationConfig) -> Iterator[Problem]:
    """Values that the library's processors of logits refuse, one key at a time."""
    from grue.policies.shaping import filters_of, shaping

    most = settings.max_new_tokens or settings.max_length
    for name, value in settings.further.items():
        alone = GenerationConfig(do_sample=settings.do_sample, **{name: value})
        try:
            shaping(alone, most, 0)
            filters_of(alone)
        except (TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            yield Problem(f"transformers refuses it: {reason}", f"{key}.{name}", value)


def _truncate_token(config: TokenizerConfig, key: str, token: int | str) -> Iterator[Problem]:
    """A token that a local tokenizer does not have."""
    if Path(config.model_name).is_dir():
        try:
            token_id(load_tokenizer(config), token)
        except UserError:
            return  # which is told of the tokenizer itself
        except ValueError as error:
            yield Problem(str(error), key, token)


def _model(model: _Model) -> Iterator[Problem]:
    """A local folder that lacks weights or is of the other type."""
    key, name, folder = model.key, model.name, Path(model.name)
    if not folder.is_dir():
        return
    try:
        architecture = json_object((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Problem(f"its config.json cannot be read: {error}", key, name)
        return
    if model.init == "pretrained" and not has_weights(folder):
        yield Problem("the folder holds no weights; set alg.policy.init=random to begin with "
                      "random ones", key, name)  # fmt: skip
    has_encoder = bool(architecture.get("is_encoder_decoder", False))
    found: ModelType = "seq2seq" if has_encoder else "causal"
    if found != model.type:
        right = model.type_value.replace(model.type, found)
        yield Problem(f"'{name}' is a {found} model; set it to '{right}'", model.type_key,
                      model.type_value)  # fmt: skip


def _part(key: str, config: MetricConfig | RewardConfig) -> Iterator[Problem]:
    """What a metric or reward misses."""
    try:
        with naming(config.id):
            config.build().prepare()
    except UserError as error:
        yield Problem(str(error), key, config.id)


def _algorithm(config: FinetuneConfig) -> Iterator[Problem]:
    """Arguments that the Trainer does not know, or not on the CPU."""
    if not isinstance(config.alg, SupervisedAlg):
        return
    from grue.algorithms.supervised import check_arguments

    try:
        check_arguments(config.alg.training_args, on_gpu=bool(config.gpu_ids))
    except UserError as error:
        yield Problem(str(error))
