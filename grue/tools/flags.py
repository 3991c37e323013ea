"""Flags of the commands that stand for a plan: a model, data, a reward, and the plan of them."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from common.errors import UserError
from common.files.documents import parse_json
from common.run.folder import write_json

_PROJECT = Path(__file__).resolve().parents[2]
_LEARNED = "learned_reward"
"""Reward of a model that gives numbers."""


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are `UserError`."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UserError(f"{message}; '{self.prog} --help' shows what can be given")


def at_least(kind: Callable[[str], Any], least: float) -> Callable[[str], Any]:
    """Return a parser of numbers of at least ``least``."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(
                f"'{text}': expected {'a number' if kind is float else 'an integer'} of at least "
                f"{least:g}"
            )
        return value

    return read


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the model and of its outputs."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", help="hub id or folder of a causal or encoder-decoder model")
    group.add_argument("--model_type", choices=("causal", "seq2seq"),
                       help="by default the model's own")  # fmt: skip
    group.add_argument("--temperature", type=at_least(float, 1e-6), default=1.0,
                       help="divisor of the logits (default: 1)")  # fmt: skip
    group.add_argument("--max_new_tokens", type=at_least(int, 1), default=64,
                       help="most tokens of an output (default: 64)")  # fmt: skip
    group.add_argument("--max_prompt_tokens", type=at_least(int, 1), default=512,
                       help="most tokens of a prompt, which is cut (default: 512)")  # fmt: skip
    group.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                       help="type of the weights (default: float32)")  # fmt: skip


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of prompts and reward."""
    group = parser.add_argument_group("data and reward")
    group.add_argument("--data",
                       help="JSONL, JSON, CSV or parquet file, folder of them, hub id, or a "
                       "task as a JSON object, as in plans")  # fmt: skip
    group.add_argument("--config", help="configuration of a hub data set")
    group.add_argument("--prompt_column", default="prompt",
                       help="column of prompts: texts or messages (default: prompt)")  # fmt: skip
    group.add_argument("--references_column", default="",
                       help="column of references, if the reward needs them")  # fmt: skip
    group.add_argument("--chat_template", action="store_true",
                       help="prompts are messages to a chat model")  # fmt: skip
    group.add_argument("--split", choices=("train", "val", "test"), default="train",
                       help="split of the data (default: train)")  # fmt: skip
    group.add_argument("--reward", help="id of a reward, custom:module:function, a reward model's "
                       "hub id or folder, or a JSON object as in plans")  # fmt: skip


def model_type(name: str) -> str:
    """Return the architecture of a model: ``causal`` or ``seq2seq``.

    Raises:
        UserError: there is no such model.
    """
    from transformers import AutoConfig

    from common.machine.hub_offline import go_offline_if_unreachable

    go_offline_if_unreachable()
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--model {name}: cannot be read: {reason}") from None
    return "seq2seq" if config.is_encoder_decoder else "causal"


def datapool(args: argparse.Namespace) -> dict[str, Any]:
    """Return the task of the data that the flags name."""
    if args.data.startswith("{"):
        return _object(args.data, "--data")
    keys: dict[str, Any] = {
        "prompt_column": args.prompt_column,
        "references_column": args.references_column or None,
    }
    if args.chat_template:
        keys["chat_template"] = True
    path = Path(args.data)
    if path.exists():
        return {"id": "jsonl", "args": {"path": str(path.absolute()), **keys}}
    if path.suffix or path.is_absolute() or args.data.count("/") > 1:
        raise UserError(f"--data {args.data}: there is no such file or folder")
    if args.config is not None:
        keys["config"] = args.config
    return {"id": "hub_dataset", "args": {"dataset": args.data, **keys}}


def reward(text: str) -> dict[str, Any]:
    """Return the reward that ``--reward`` names.

    Raises:
        UserError: it is no JSON object.
    """
    if text.startswith("{"):
        return _object(text, "--reward")
    if Path(text).is_dir() or ("/" in text and not text.startswith("custom:")):
        return {"id": _LEARNED, "args": {"model_name": _absolute(text)}}
    return {"id": text}


def _object(text: str, flag: str) -> dict[str, Any]:
    try:
        return dict(parse_json(text))
    except ValueError as error:
        raise UserError(f"{flag} {text}: {error}") from None


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).exists() else name


def policy_keys(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of the model whose outputs are sampled, and of its tokenizer."""
    name = _absolute(args.model)
    policy = {} if args.dtype == "float32" else {"policy": {"dtype": args.dtype}}
    return {
        "tokenizer": {"model_name": name, "max_length": args.max_prompt_tokens},
        "alg": {
            "model_type": args.model_type or model_type(name),
            "model_name": name,
            "generation_kwargs": {
                "do_sample": True,
                "top_k": 0,
                "temperature": args.temperature,
                "max_new_tokens": args.max_new_tokens,
            },
            **policy,
        },
    }


def run_plan(plan: dict[str, Any], path: Path, *flags: str) -> int:
    """Write the plan to ``path``, print the command that it stands for, and run it.

    Return the exit status.
    """
    write_json(path, plan)
    command = ["run_plan.py", "--plan_config_path", str(path), *flags]
    print(f"the plan: {path}; the same as: python {' '.join(command)}", flush=True)
    command[0] = str(_PROJECT / command[0])
    return subprocess.run([sys.executable, *command]).returncode
