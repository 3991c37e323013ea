"""Preflight check of text runs, before the first run of their plan starts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.config.run import RunConfig
from common.errors import Problem, UserError
from common.machine.hub_offline import cached_snapshot
from common.plan.run import Run
from grue.algorithms.args.supervised_loss import SupervisedLossArgs
from grue.algorithms.config import AlgorithmArgs
from grue.experiments.extract.config import ExtractConfig, ServedAlg
from grue.experiments.finetune.config import ReinforcementConfig, SupervisedConfig
from grue.experiments.preflight.cache import Answers, problems_of_all
from grue.experiments.preflight.data import KnownSplit, data_problems, known_split
from grue.experiments.preflight.generations import settings_by_key
from grue.experiments.preflight.model_problems import model_problems
from grue.experiments.preflight.parts import hint_problems, part_problems
from grue.experiments.preflight.server import server_problems
from grue.experiments.preflight.vocabularies import KnownTokenizer, known_tokenizer
from grue.models.loading import load_tokenizer
from grue.policies.chat import check_template, without_template
from grue.policies.generation_config import GenerationConfig
from grue.policies.truncation import token_id
from grue.runs.config import TextConfig
from grue.supervised.config import SupervisedAlg


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of the data, models and parts that ``runs`` name.

    Data of the hub, and files that a custom experiment makes, are checked when a run needs them.
    Files of other earlier stages are checked as far as the stages' keys determine them.
    """
    return problems_of_all(runs, problems_of)


def problems_of(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of one text run."""
    yield from data_problems(run, answers)
    if isinstance(run.config, ExtractConfig) and isinstance(run.config.alg, ServedAlg):
        yield from server_problems(run.config.alg, answers)
        yield from part_problems(run, answers)
        return
    yield from model_problems(run, answers)
    yield from _truncate_tokens(run, answers)
    yield from _chat_template(run, answers)
    yield from _values_of_library(run.config, answers)
    yield from part_problems(run, answers)
    yield from hint_problems(run, answers)
    if isinstance(run.config, SupervisedConfig):
        yield from _of_supervised(run, run.config.alg, answers)
    elif isinstance(run.config, ReinforcementConfig):
        from grue.algorithms.optimizer_keys import problems_of_optimizer

        yield from problems_of_optimizer(run.config.alg.policy.args)
        yield from _without_labels(run, run.config.alg.args, answers)


def _truncate_tokens(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of truncation tokens that a local tokenizer does not have."""
    assert isinstance(run.config, TextConfig)
    for key, settings in settings_by_key(run.config).items():
        token = settings.truncate_token
        if token is None:
            continue
        tokenizer = _local_tokenizer(run, answers)
        if tokenizer is None:
            continue
        try:
            token_id(tokenizer, token)
        except ValueError as error:
            yield Problem(str(error), f"{key}.truncate_token", token)


def _local_tokenizer(run: Run, answers: Answers) -> Any:
    """Return the run's tokenizer, from a folder or the hub's cache; None if it is not there yet."""
    assert isinstance(run.config, TextConfig)
    keys, known = run.config.tokenizer, known_tokenizer(run, answers)
    assert keys is not None, "what has none is not asked for it"
    name: str | None = None
    if isinstance(known, KnownTokenizer) and known.ids is not None:
        name = known.name
    elif known is None:
        folder = cached_snapshot(keys.model_name, keys.revision)
        if folder is not None and (folder / "tokenizer_config.json").is_file():
            name = str(folder)
    if name is None:
        return None
    found = load_tokenizer(keys.model_copy(update={"model_name": name, "revision": None}))
    found.name_or_path = keys.model_name if known is None else name
    return found


def _chat_template(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of chat messages for a tokenizer without a chat template.

    That of a new model has none. One of the hub that is not in its cache is checked by the run.
    """
    assert isinstance(run.config, TextConfig)
    if not run.config.datapool.args.get("chat_template"):
        return
    known = known_tokenizer(run, answers)
    try:
        if isinstance(known, KnownTokenizer) and known.ids is None:
            raise UserError(without_template(known.name))
        tokenizer = _local_tokenizer(run, answers)
        if tokenizer is not None:
            check_template(tokenizer)
    except UserError as error:
        yield Problem(str(error), "datapool.args.chat_template", True)


def _values_of_library(config: RunConfig, answers: Answers) -> Iterator[Problem]:
    """Yield the values that the library's logits processors refuse, one key at a time."""
    assert isinstance(config, TextConfig)
    for key, settings in settings_by_key(config).items():
        for name, value in settings.further.items():
            asked = (
                name,
                repr(value),
                settings.do_sample,
                settings.max_new_tokens or settings.max_length,
            )
            found = answers.once(asked, functools.partial(_look_at_value, name, settings))
            if found is not None:
                yield Problem(str(found), f"{key}.{name}", value)


def _look_at_value(name: str, settings: GenerationConfig) -> None:
    from grue.policies.decoding.logits_processors import filters_of, shaping

    alone = GenerationConfig(do_sample=settings.do_sample, **{name: settings.further[name]})
    try:
        shaping(alone, settings.max_new_tokens or settings.max_length, 0)
        filters_of(alone)
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"transformers refuses it: {reason}") from error


def trainer_problems(run: Run, given: Mapping[str, Any], answers: Answers) -> list[Problem]:
    """Return the problems of the Trainer's arguments."""
    from grue.supervised.hf_trainer_keys import problems_of_training

    on_gpu = bool(run.config.gpu_ids)
    found = answers.once(
        ("training_args", repr(given), on_gpu),
        lambda: list(problems_of_training(given, on_gpu=on_gpu)),
    )
    assert isinstance(found, list)
    return found


def _of_supervised(run: Run, alg: SupervisedAlg, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of data without training examples, and of the Trainer's arguments."""
    from grue.supervised.arguments import check_count
    from grue.supervised.rows import check_references

    train = known_split(run, "train", answers)
    yield from trainer_problems(run, alg.training_args, answers)
    try:
        if isinstance(train, KnownSplit):
            check_references(train.num_samples, train.num_references)
            check_count(train.num_references, alg.training_args)
    except UserError as error:
        yield Problem(str(error))


def _without_labels(run: Run, args: AlgorithmArgs, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of a supervised loss on inputs without references."""
    if not isinstance(args, SupervisedLossArgs) or args.sft_coeff == 0:
        return
    train = known_split(run, "train", answers)
    if isinstance(train, KnownSplit) and not train.num_references:
        yield Problem(f"none of {train.num_samples} training inputs has a reference, which the "
                      "supervised loss learns; give 0, or take a task that has some",
                      "alg.args.sft_coeff", args.sft_coeff)  # fmt: skip
