"""Keys that the flags of a command stand for, and the plan of them: printed, kept and run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files.documents import parse_json
from common.key_paths import value_at
from common.run.folder import write_json
from grue.tools.server_flags import check_server_flags, served_alg

_PROJECT = Path(__file__).resolve().parents[2]
_REFUSED = 2
"""Exit status of a plan that cannot run as it is."""
_FLAGS = {
    "datapool.args.path": "--data",
    "datapool.args.dataset": "--data",
    "datapool.args.prompt_column": "--prompt_column",
    "datapool.args.references_column": "--references_column",
    "datapool.args.chat_template": "--chat_template",
    "tokenizer.model_name": "--model",
    "alg.model_name": "--model",
    "alg.policy.args.model_name": "--model",
    "reward_fn": "--reward",
}
"""Flags by the keys that they set, of which a message on the plan may speak."""
_LEARNED = "learned_reward"
"""Reward of a model that gives numbers."""


def model_type(args: argparse.Namespace) -> str:
    """Return the architecture of the model, ``causal`` or ``seq2seq``: the given or its own.

    Raises:
        UserError: there is no such model.
    """
    if args.model_type is not None:
        return str(args.model_type)
    from transformers import AutoConfig

    from common.machine.hub_offline import go_offline_if_unreachable

    go_offline_if_unreachable()
    try:
        config = AutoConfig.from_pretrained(args.model)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"--model {args.model}: cannot be read ({reason}); give a folder in Hugging Face "
            "layout, or a hub id where there is a network"
        ) from None
    return "seq2seq" if config.is_encoder_decoder else "causal"


def datapool(args: argparse.Namespace, **further: Any) -> dict[str, Any]:
    """Return the task of the data that the flags name.

    Args:
        args: values of the flags.
        further: keys of a task of a local file.

    Raises:
        UserError: there is no such file or folder.
    """
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
        return {"id": "jsonl", "args": {"path": str(path.absolute()), **keys, **further}}
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
        return {"id": _LEARNED, "args": {"model_name": model_name(text)}}
    return {"id": text}


def _object(text: str, flag: str) -> dict[str, Any]:
    try:
        return dict(parse_json(text))
    except ValueError as error:
        raise UserError(f"{flag} {text}: {error}") from None


def model_name(name: str) -> str:
    """Return a model's hub id, or the whole path of its folder."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def tokenizer(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of the tokenizer."""
    return {"model_name": model_name(args.model), "max_length": args.max_prompt_tokens}


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings with which outputs are sampled."""
    return {
        "do_sample": True,
        "top_k": 0,
        "temperature": args.temperature,
        "max_new_tokens": args.max_new_tokens,
    }


def extraction(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of a run that samples and scores outputs."""
    evaluation: dict[str, Any] = {
        "split": args.split,
        "eval_batch_size": args.batch_size,
        "num_samples_per_input": args.num_samples,
    }
    if args.gradients:
        evaluation["gradients"] = True
    if args.sample_cache:
        evaluation["sample_cache"] = args.sample_cache
    return {
        "experiment_name": "samples",
        "outputs_dir": str(args.out),
        "random_seed": args.seed,
        "datapool": {
            **datapool(args),  # told before a model is searched for
            f"num_{args.split}_samples": args.num_inputs,
            "train_samples_rnd_seed": args.seed,
        },
        **sampled_model(args),
        "evaluation": evaluation,
        "reward_fn": reward(args.reward),
    }


def sampled_model(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of the model whose outputs are sampled, and of its tokenizer."""
    check_server_flags(args)
    if args.server is not None:
        return {"alg": served_alg(args, sampling(args))}
    alg: dict[str, Any] = {
        "model_type": model_type(args),
        "model_name": model_name(args.model),
        "generation_kwargs": sampling(args),
    }
    if args.dtype != "float32":
        alg["policy"] = {"dtype": args.dtype}
    return {"tokenizer": tokenizer(args), "alg": alg}


def plan(name: str, experiment: str, figures: list[Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of one run with the keys ``base``."""
    return {
        "name": name,
        "experiment": experiment,
        "figures": figures,
        "configurations": [{"base_config": base}],
    }


def of_extraction(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the plan of a run that samples and scores outputs, with its figures."""
    figures = ["reward_mean_std", *(["expected_gradients"] if args.gradients else [])]
    return plan(name, "grue_extract", figures, extraction(args))


def make(plan: dict[str, Any], args: argparse.Namespace) -> int | None:
    """Keep the plan in the folder ``--out``, print the command that it stands for, and run it.

    What failed before is tried again. With ``--print_plan`` the plan is printed alone.

    Returns:
        The exit status; None if only the plan was printed.
    """
    if args.print_plan:
        print(json.dumps(plan, indent=2, ensure_ascii=False))
        return None
    path = plan_path(args.out)
    write_json(path, plan)
    command = ["run_plan.py", "--plan_config_path", str(path), "--retry_failed"]
    if args.gpu_ids:
        command += ["--gpu_ids", *args.gpu_ids]
    print(f"the plan: {path}; the same as: python {' '.join(command)}", flush=True)
    status = run(command)
    if status == _REFUSED:
        print(f"these keys are flags here: {_keys_as_flags(plan)}", file=sys.stderr)
    return status


def _keys_as_flags(plan: dict[str, Any]) -> str:
    """Return the keys of a plan that flags have set, each with its flag."""
    (configuration,) = plan["configurations"]
    base = configuration["base_config"]
    return ", ".join(f"'{key}' is {flag}" for key, flag in _FLAGS.items() if value_at(base, key))


def plan_path(out: Path) -> Path:
    """Return where a command keeps its plan in its folder."""
    return out / "plan.json"


def write_report(folder: Path) -> int:
    """Write the page about what is in a folder, and print its path; return the exit status."""
    places = [str(_PROJECT), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "plots", "report", "--plan", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
    ).returncode


def run(command: list[str]) -> int:
    """Run the project's program with its arguments; return the exit status."""
    program, *arguments = command
    return subprocess.run([sys.executable, str(_PROJECT / program), *arguments]).returncode
