"""Preflight checks of rewards and metrics: their needs, references and groups that data lack."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from common.custom.user_code import naming
from common.errors import Problem, UserError
from common.hashing import fingerprint
from common.key_paths import key_path
from common.plan.run import Run
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.finetune.config import FinetuneConfig, ReinforcementConfig
from grue.experiments.preflight.cache import Answers
from grue.experiments.preflight.data import KnownSplit, known_split, made_later
from grue.experiments.preflight.models import KnownModel, of_stage
from grue.metrics.config import MetricConfig
from grue.rewards.config import RewardConfig
from grue.runs.config import TextConfig
from grue.scorers.options import ScorerArgs
from grue.tasks.task import Split

_JUDGED_BY = {
    "intent_accuracy": "grue_classifier",
    "learned_reward": "grue_classifier",
    "learned_preference": "reward_model",
}
"""Experiments whose models these parts use."""
_COLUMN = "references_column"


def part_problems(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of the run's parts, as far as they are known."""
    config = run.config
    assert isinstance(config, TextConfig)
    for key, part in parts(config):
        yield from _of_devices(run, key, part)
        if made_later(run, key):
            yield from _of_judge(run, key, part, answers)
            continue
        built = answers.once(
            ("part", type(part), fingerprint(part.model_dump(mode="json"))),
            functools.partial(built_of, part),
        )
        if isinstance(built, UserError):
            yield Problem(str(built), key, part.id)
            continue
        if _scores_texts_alone(config) and getattr(built, "needs_tokens", False):
            yield Problem("rewards tokens, and reward sampling keeps texts alone, as "
                          "'measure_reward' does; take a reward of whole outputs",
                          key, part.id)  # fmt: skip
        for split in _splits_read_by(key, config):
            if getattr(built, "needs_references", False):
                yield from _of_references(run, key, part, split, answers)
            needed = getattr(built, "needed_metadata", ())
            yield from _of_metadata(run, key, part, needed, split, answers)
    yield from _of_groups(run, answers)


def _scores_texts_alone(config: TextConfig) -> bool:
    """Return whether the run scores outputs without their tokens."""
    measures_reward = (
        isinstance(config, ReinforcementConfig) and config.train_evaluation.measure_reward
    )
    return isinstance(config, ExtractConfig) or measures_reward


def hint_problems(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of training inputs without references, from which hints are taken."""
    config = run.config
    if (
        not isinstance(config, ReinforcementConfig)
        or config.alg.rollout_spec.groups.hint_share is None
    ):
        return
    found = known_split(run, "train", answers)
    if isinstance(found, KnownSplit) and found.bare is not None:
        yield Problem(
            f"takes hints from references, and the split 'train' has inputs without, such as "
            f"{found.bare[:60]!r}; choose data with references, or another value",
            "alg.args.zero_std_groups", "hint",
        )  # fmt: skip


def _of_judge(
    run: Run, key: str, part: MetricConfig | RewardConfig, answers: Answers
) -> Iterator[Problem]:
    """Yield the problem of a model that generates texts, where one is needed that scores them."""
    name_key = f"{key}.args.model_name"
    for reference in run.references:
        if key_path(reference.key) != name_key or part.id not in _JUDGED_BY:
            continue
        name = part.args["model_name"]
        model = of_stage(name, reference.run, answers)
        if isinstance(model, KnownModel) and model.use == "writes":
            yield Problem(
                f"is a model that writes texts and judges none; name a stage of the experiment "
                f"'{_JUDGED_BY[part.id]}'",
                name_key,
                name,
            )


def built_of(part: MetricConfig | RewardConfig) -> Any:
    """Return the part after its preflight check.

    Raises:
        UserError: something is missing, or the part itself fails.
    """
    with naming(part.id):
        found = part.build()
        found.prepare()
    return found


def parts(config: TextConfig) -> Iterator[tuple[str, MetricConfig | RewardConfig]]:
    """Yield the run's metrics and its reward, with their keys."""
    if isinstance(config, ExtractConfig):
        metrics, key = config.evaluation.metrics, "evaluation.metrics"
        yield from config.rewards_by_key()
    elif isinstance(config, FinetuneConfig):
        metrics, key = config.train_evaluation.metrics, "train_evaluation.metrics"
        if config.reward_fn is not None:
            yield "reward_fn", config.reward_fn
    else:
        return
    for position, metric in enumerate(metrics):
        yield f"{key}[{position}]", metric


def _splits_read_by(key: str, config: TextConfig) -> tuple[Split, ...]:
    """Return the splits whose texts a part scores."""
    if isinstance(config, ExtractConfig):
        return config.splits
    if key == "reward_fn":
        return ("train",)
    assert isinstance(config, FinetuneConfig)
    left_out = ("train",) if config.no_eval_on_train_set else ()
    return tuple(split for split in config.splits if split not in left_out)


def _of_devices(run: Run, key: str, part: MetricConfig | RewardConfig) -> Iterator[Problem]:
    """Yield the problem of a scoring model, of the part or of one in it, on a device of others."""
    import torch

    seen = min(len(run.config.gpu_ids), 1) if run.num_ranks > 1 else len(run.config.gpu_ids)
    for name, text in _devices(key, part):
        try:
            device = torch.device(text)
        except RuntimeError:
            yield Problem("is no device; write 'cpu' or 'cuda:0', or leave it out", name, text)
            continue
        if device.type == "cuda" and (device.index or 0) >= seen:
            has = f"{seen} GPU{'s' if seen > 1 else ''}" if seen else "no GPU"
            yield Problem(
                f"the run has {has}, and sees those of its 'gpu_ids' alone, counted from 0; leave "
                "it out for the run's own device, or give the run more",
                name,
                text,
            )


def _devices(key: str, part: Any) -> Iterator[tuple[str, str]]:
    """Yield the given devices of scoring models, with their keys."""
    own = part.own_keys()
    if isinstance(own, ScorerArgs) and own.device is not None:
        yield f"{key}.args.device", own.device
    for name in type(own).model_fields:
        value = getattr(own, name)
        for position, inner in enumerate(value if isinstance(value, list | tuple) else ()):
            if isinstance(inner, RewardConfig):
                yield from _devices(f"{key}.args.{name}[{position}]", inner)


def _of_references(
    run: Run, key: str, part: MetricConfig | RewardConfig, split: Split, answers: Answers
) -> Iterator[Problem]:
    """Yield the problem of samples without references, on which the part would fail."""
    found = known_split(run, split, answers)
    if not isinstance(found, KnownSplit) or found.bare is None:
        return
    if isinstance(run.config, FinetuneConfig) and key != "reward_fn" and not found.has_text:
        return  # evaluations leave the metric out of such a split, and say so
    assert isinstance(run.config, TextConfig), "as part_problems has checked"
    args = run.config.datapool.args
    unnamed = _COLUMN in args and args[_COLUMN] is None
    fix = f"name their column as 'datapool.args.{_COLUMN}'" if unnamed else "choose data with them"
    yield Problem(
        f"needs references, and the split '{split}' has inputs without, such as "
        f"{found.bare[:60]!r}; {fix}, or take it out",
        key,
        part.id,
    )


def _of_groups(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of metadata that make groups of inputs, where no input has them."""
    config = run.config
    if isinstance(config, ExtractConfig):
        key, name = "evaluation.group_by", config.evaluation.group_by
    elif isinstance(config, FinetuneConfig):
        key, name = "train_evaluation.group_by", config.train_evaluation.group_by
    else:
        return
    if name is None:
        return
    for split in _splits_read_by(key, config):
        found = known_split(run, split, answers)
        if isinstance(found, KnownSplit) and name not in found.metadata:
            known = ", ".join(sorted(found.metadata)) or "no metadata"
            yield Problem(f"no input of the split '{split}' has it; they have {known}", key, name)


def _of_metadata(
    run: Run,
    key: str,
    part: MetricConfig | RewardConfig,
    needed: Sequence[str],
    split: Split,
    answers: Answers,
) -> Iterator[Problem]:
    """Yield the problem of a task whose samples lack metadata without which the part fails."""
    found = known_split(run, split, answers)
    if not isinstance(found, KnownSplit):
        return
    for name in dict.fromkeys(needed):
        if name not in found.shared_metadata:
            assert isinstance(run.config, TextConfig)
            yield Problem(
                f"reads '{name}' of each input's metadata, which the split '{split}' of the task "
                f"'{run.config.datapool.id}' does not have; choose a task that gives it, or take "
                "it out",
                key,
                part.id,
            )
