"""Arguments of command lines: assignments ``key=value``, and advice on unknown words."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

from common.errors import UserError
from common.files.documents import parse_json
from common.files.surrogates import why_no_text
from common.registry import suggestion

_AS_JSON = {"True": "true", "False": "false"}
_ASSIGNMENT = re.compile(r"(?!-)[\w.-]+=.*", re.DOTALL)
_PLAN_FILE = re.compile(r".*\.(json|ya?ml)", re.IGNORECASE)
_FLAGS_OF_KEYS = {
    "outputs_dir": "outputs_dir", "num_parallel": "num_parallel", "num_threads": "num_threads",
    "gpu_ids_pool": "gpu_ids", "executor": "executor",
}  # fmt: skip
"""Keys that have a flag of their own, and its name."""
_TAKES_MANY = "--tags"
_PUBLISHED = {
    "--config_path": "--plan_config_path {}",
    "--output_path": "--outputs_dir {}",
    "--base_path_to_store_results": "--outputs_dir {}",
    "--experiment_name": "--set experiment_name={}",
    "--project_name": "--set project_name={}",
    "--entity_name": "--set entity_name={}",
    "--output_file_suffix": "--set output_file_suffix={}",
    "--log_to_wandb": "--set log_to_wandb=true",
    "--upload_model_to_wandb": "--set upload_model_to_wandb=true",
    "--log_entire_predictions": "--set log_entire_predictions=true",
    "--no_eval_on_train_set": "--set no_eval_on_train_set=true",
    "--tags": "--set 'tags=[\"{}\"]'",
    "--seed": "--set seeds=[{}]",
}
"""Replacements of the published programs' flags, with their values."""


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the command line's changes to the plan, by key.

    Raises:
        UserError: an assignment cannot be read, is no text, or repeats the key of a flag or of
            another assignment.
    """
    flags = {key: getattr(args, flag) for key, flag in _FLAGS_OF_KEYS.items()}
    overrides = parse_assignments(args.assignments)
    for key in overrides:
        if flags.get(key) is not None:
            raise UserError(f"--set {key}: --{_FLAGS_OF_KEYS[key]} sets it too; keep one of them")
    overrides = {key: value for key, value in flags.items() if value is not None} | overrides
    if (args.num_parallel or 1) > 1:
        overrides["multiprocess"] = True
    broken = why_no_text(overrides)
    if broken:
        raise UserError(f"the command line: {broken}")
    return overrides


def separate(words: Sequence[str], takes_one: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the bare ``key=value`` of a command line, and its other words.

    A word after one of the flags ``takes_one`` is that flag's value.
    """
    bare: list[str] = []
    others: list[str] = []
    for before, word in pairwise(["", *words]):
        is_bare = before not in takes_one and _ASSIGNMENT.fullmatch(word)
        (bare if is_bare else others).append(word)
    return bare, others


def parse_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Return the values by key of several ``key=value``.

    Raises:
        UserError: an assignment cannot be read, or a key is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, value = parse_assignment(text)
        if key in found:
            raise UserError(f"--set {key}: given twice; keep one of them")
        found[key] = value
    return found


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return key and value of a ``key=value``; the value is JSON if it can be parsed, else text.

    ``True`` and ``False``, as on the command lines of published programs, are read too.

    Raises:
        UserError: there is no ``=``, a key of the value is repeated, it is nested too deeply, or a
            string in it is no text.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value, for example --set epochs=10")
    try:
        return key, parse_json(_AS_JSON.get(value, value))
    except json.JSONDecodeError:
        return key, value
    except ValueError as error:
        raise UserError(f"--set {key}: {error}") from None


def refuse(words: Sequence[str], flags: Sequence[str]) -> None:
    """Refuse the unknown ``words`` of a command line, if there are any.

    Args:
        words: unknown flags with the words after them, and words after no flag.
        flags: the known flags.

    Raises:
        UserError: the message says for each what to write instead.
    """
    messages = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            flag, equals, value = word.partition("=")
            values = [value] if equals else []
            most = len(rest) if flag == _TAKES_MANY else 1
            while rest and not rest[0].startswith("-") and len(values) < most:
                values.append(rest.pop(0))
            messages.append(f"{flag}: {_instead(flag, values, flags)}")
        elif _PLAN_FILE.fullmatch(word):
            messages.append(f"{word}: a plan needs its flag; write --plan_config_path {word}")
        elif word.strip():
            messages.append(f"{word}: is no flag and follows none; a key is changed by key=value")
    if messages:
        raise UserError("\n  ".join(["the command line:", *messages][len(messages) == 1 :]))


def _instead(flag: str, values: Sequence[str], flags: Sequence[str]) -> str:
    if flag in _PUBLISHED:
        told = '", "'.join(values) or "VALUE"
        return f"write {_PUBLISHED[flag].format(told)}"
    return f"unknown flag{suggestion(flag, list(flags)) or '; --help shows the known ones'}"
