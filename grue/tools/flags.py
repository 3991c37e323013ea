"""Flags of the commands that stand for a plan: a model, data, a reward, samples, a folder."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError


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


def check_needed(args: argparse.Namespace, names: Sequence[str], otherwise: str = "") -> None:
    """Check that flags are given; ``otherwise`` says what else may be.

    Raises:
        UserError: some are not.
    """
    missing = [f"--{name}" for name in names if getattr(args, name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: needed{otherwise}; '--help' shows examples")


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
    group.add_argument("--reward", help="id of a reward, custom:module:function, a reward model's "
                       "hub id or folder, or a JSON object as in plans")  # fmt: skip


def add_sample_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of how many outputs of how many inputs are sampled."""
    group = parser.add_argument_group("samples")
    group.add_argument("--split", choices=("train", "val", "test"), default="train",
                       help="split of the data (default: train)")  # fmt: skip
    group.add_argument("--num_inputs", type=at_least(int, 1), default=500,
                       help="number of inputs (default: 500)")  # fmt: skip
    group.add_argument("--num_samples", type=at_least(int, 2), default=16,
                       help="number of outputs of each (default: 16)")  # fmt: skip
    group.add_argument("--batch_size", type=at_least(int, 1), default=16,
                       help="number of inputs sampled together (default: 16)")  # fmt: skip
    group.add_argument("--gradients", action="store_true",
                       help="also estimate the squared norm of each input's expected gradient, "
                       "without bias: a backward pass per different output")  # fmt: skip
    group.add_argument("--sample_cache", default="outputs/sample_cache", metavar="FOLDER",
                       help="folder that keeps outputs by model, prompt and settings, for other "
                       "rewards (default: outputs/sample_cache; '' for none)")  # fmt: skip


def add_run_flags(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the flags of the run: seed, device, and its folder, by default ``out``."""
    group = parser.add_argument_group("run")
    group.add_argument("--seed", type=at_least(int, 0), default=0,
                       help="seed of all random draws (default: 0)")  # fmt: skip
    group.add_argument("--gpu_ids", nargs="*", default=(), metavar="ID",
                       help="GPU to use; by default the CPU is used")  # fmt: skip
    group.add_argument("--out", type=Path, default=Path(out),
                       help=f"folder of the results (default: {out})")  # fmt: skip
    group.add_argument("--print_plan", action="store_true",
                       help="only print the plan that the flags stand for")  # fmt: skip
