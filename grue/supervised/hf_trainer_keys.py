"""Library keys ``training_args``: their names, types and values."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import torch
from transformers import Trainer, TrainingArguments

from common.config.base import Config
from common.config.resolve import resolve
from common.errors import Problem, UserError
from grue.parts.free_keys import keys_of
from grue.supervised.arguments import RENAMED, RUNS_OWN, check_arguments

TRAINING_ARGS = "alg.training_args"

_AT_LEAST = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "num_train_epochs": 0,
}
_SHORT = {"lr": "learning_rate"}
"""Names that the Trainer does not use, and others use, for its arguments."""


def problems_of_training(given: Mapping[str, Any], *, on_gpu: bool) -> Iterator[Problem]:
    """Yield the problems of the Trainer's arguments that a process without GPU can find."""
    asked = {name: value for name, value in given.items() if _current(name) not in RUNS_OWN}
    found = [
        Problem(f"the Trainer calls it '{_SHORT[name]}'; write that", name, asked.pop(name))
        for name in _SHORT.keys() & asked.keys()
    ]
    found += resolve(_of_trainer(), asked)[1]
    yield from (problem.below(TRAINING_ARGS) for problem in found)
    if not found:
        yield from _refused_by_trainer(given, on_gpu=on_gpu)


def _refused_by_trainer(given: Mapping[str, Any], *, on_gpu: bool) -> Iterator[Problem]:
    """Yield the arguments that the library refuses: each alone, or else all together."""
    together = _why_refused(given, on_gpu=on_gpu)
    if together is None:
        return
    alone = {name: _why_refused({name: given[name]}, on_gpu=on_gpu) for name in given}
    wrong = {name: reason for name, reason in alone.items() if reason is not None}
    for name, reason in wrong.items():
        yield Problem(reason, f"{TRAINING_ARGS}.{name}", given[name])
    if not wrong:
        yield Problem(together, TRAINING_ARGS)


def _why_refused(given: Mapping[str, Any], *, on_gpu: bool) -> str | None:
    """Return why the library refuses the arguments, or the optimizer that they name."""
    try:
        arguments = check_arguments(given, on_gpu=on_gpu)
    except UserError as error:
        return _behind_key(str(error))
    if arguments.optim_target_modules is not None:
        return None  # optimizers of a model's own modules can be made with that model alone
    try:
        model: Any = torch.nn.Linear(1, 1)
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
        kind(model.parameters(), **options)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        return f"the optimizer refuses it: {' '.join(str(error).split())}"
    return None


def _behind_key(message: str) -> str:
    """Return a message about the Trainer's arguments without the key at its beginning."""
    return re.sub(rf"^'{re.escape(TRAINING_ARGS)}[^']*'( = \S+)?: ", "", message)


def _current(name: str) -> str:
    return RENAMED.get(name, name)


@functools.cache
def _of_trainer() -> type[Config]:
    """Return the Trainer's arguments, by their names and the published ones."""
    hints = get_type_hints(TrainingArguments)
    known = {name: hints[name] for name in TrainingArguments.__dataclass_fields__}
    old = {name: known[now] for name, now in RENAMED.items() if now in known}
    return keys_of(known | old, _AT_LEAST)
