"""Flags of finetuning, and the keys of a plan that they stand for."""

from __future__ import annotations

import argparse
from typing import Any

from common.errors import UserError
from grue.metrics.metric import METRICS
from grue.tasks.sources.local_files import has_split, split_file
from grue.tools import plan_of_flags
from grue.tools.flags import at_least, check_needed

SUPERVISED = "supervised"
ALGORITHMS = (SUPERVISED, "grpo", "dr_grpo", "dapo", "rloo", "gspo", "ppo")
TRL = {
    "--num_generations": "--num_samples",
    "--max_completion_length": "--max_new_tokens",
    "--max_steps": "--steps",
    "--beta": "--kl",
    "--reward_funcs": "--reward",
    "--eval_steps": "--eval_every",
    "--output_dir": "--out",
}
"""Flags by their names in TRL's commands."""
_SAMPLES = 8
"""Outputs of each prompt, but for PPO, whose critic needs no group."""
_TRAINING_REWARD = "rollout_info/ep_rew"
"""Curve that is drawn without metrics."""
_EPOCHS = 4
"""Passes of PPO over a rollout, each in as many minibatches."""


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the algorithm, its steps and evaluations."""
    group = parser.add_argument_group("training")
    group.add_argument("--algorithm", choices=ALGORITHMS, default="grpo",
                       help="'supervised' learns the references, others the reward (default: "
                       "grpo)")  # fmt: skip
    group.add_argument("--steps", type=at_least(int, 1), default=100,
                       help="number of rollouts, each with an update; of 'supervised', of updates "
                       "(default: 100)")  # fmt: skip
    group.add_argument("--learning_rate", type=at_least(float, 1e-12),
                       help="by default the algorithm's own")  # fmt: skip
    group.add_argument("--batch_size", type=at_least(int, 1), default=16,
                       help="number of prompts of a step (default: 16)")  # fmt: skip
    group.add_argument("--num_samples", type=at_least(int, 1),
                       help=f"outputs of each prompt (default: {_SAMPLES}, of ppo 1)")  # fmt: skip
    group.add_argument("--kl", type=at_least(float, 0), default=0.0,
                       help="coefficient of the KL to the initial model (default: 0)")  # fmt: skip
    group.add_argument("--lora", type=at_least(int, 1), metavar="RANK",
                       help="train adapters of this rank instead of all weights")  # fmt: skip
    group = parser.add_argument_group("evaluation")
    group.add_argument("--eval_every", type=at_least(int, 1), default=10,
                       help="steps between evaluations (default: 10)")  # fmt: skip
    group.add_argument("--num_eval", type=at_least(int, 1), default=100,
                       help="inputs of validation, and of test (default: 100)")  # fmt: skip
    group.add_argument("--metrics", nargs="+", metavar="ID",
                       help="ids of metrics (default: the reward, if it is one)")  # fmt: skip
    group.add_argument("--held_out", type=at_least(float, 0), default=0.1,
                       help="share of a single file for validation, and for test (default: "
                       "0.1)")  # fmt: skip
    group.add_argument("--val_split", default="validation",
                       help="validation split of a hub data set (default: validation)")  # fmt: skip
    group.add_argument("--test_split", default="test",
                       help="test split of a hub data set (default: test)")  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Check that the flags have what the algorithm learns from.

    Raises:
        UserError: they have not.
    """
    check_needed(args, ("model", "data"))
    if args.algorithm != SUPERVISED:
        check_needed(args, ("reward",))
    elif not args.references_column and not args.data.startswith("{"):
        raise UserError("--references_column: needed; 'supervised' learns the references")


def of_finetuning(args: argparse.Namespace) -> dict[str, Any]:
    """Return the plan of a finetuning run, with its figure."""
    supervised = args.algorithm == SUPERVISED
    task = _datapool(args)  # told before a model is searched for
    kind = plan_of_flags.model_type(args)
    base = {
        "experiment_name": args.algorithm,
        "outputs_dir": str(args.out),
        "random_seed": args.seed,
        "tokenizer": plan_of_flags.tokenizer(args),
        "datapool": task,
        "alg": _supervised(args, kind) if supervised else _reinforcement(args, kind),
        "no_eval_on_train_set": True,
        "train_evaluation": _evaluation(args),
    }
    if not supervised:
        limits = {"max_prompt_length": args.max_prompt_tokens,
                  "max_episode_length": args.max_new_tokens}  # fmt: skip
        base["reward_fn"] = plan_of_flags.reward(args.reward)
        base["env"] = {"n_envs": args.batch_size, "args": limits}
    figure: dict[str, Any] = {"figure": "learning_curves"}
    if not supervised and not _metrics(args):
        figure["metrics"] = [_TRAINING_REWARD]
    return plan_of_flags.plan("finetune", "grue_finetune", [figure], base)


def _datapool(args: argparse.Namespace) -> dict[str, Any]:
    found = plan_of_flags.datapool(args, held_out=args.held_out)
    if found["id"] == "jsonl" and not args.data.startswith("{"):
        path = found["args"]["path"]
        if not has_split(path, "val") and not has_split(path, "test"):
            found["args"]["path"] = str(split_file(path, "train"))
    if found["id"] == "hub_dataset" and not args.data.startswith("{"):
        found["args"] |= {"val_split": args.val_split, "test_split": args.test_split}
    return {"num_val_samples": args.num_eval, "num_test_samples": args.num_eval, **found}


def _supervised(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    training: dict[str, Any] = {
        "per_device_train_batch_size": args.batch_size,
        "max_steps": args.steps,
        "logging_steps": args.eval_every,
    }
    if args.learning_rate is not None:
        training["learning_rate"] = args.learning_rate
    return {
        "id": SUPERVISED,
        "model_type": kind,
        "model_name": plan_of_flags.model_name(args.model),
        "append_eos": True,
        "mask_prompt": True,
        "training_args": training,
        "policy": _options(args),
    }


def _reinforcement(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    is_ppo = args.algorithm == "ppo"
    own: dict[str, Any] = {"num_samples_per_input": args.num_samples or (1 if is_ppo else _SAMPLES)}
    if is_ppo:
        tokens = args.batch_size * own["num_samples_per_input"] * args.max_new_tokens
        own |= {"n_steps": args.max_new_tokens, "n_epochs": _EPOCHS,
                "batch_size": max(1, tokens // _EPOCHS)}  # fmt: skip
    else:
        own["num_minibatches"] = 1
    if args.learning_rate is not None:
        own["learning_rate"] = args.learning_rate
    return {
        "id": args.algorithm,
        "args": own,
        "kl_div": {"coeff": args.kl},
        "policy": {
            "id": "causal_lm_actor_critic_policy" if kind == "causal" else
                  "seq2seq_lm_actor_critic_policy",
            **_options(args),
            "args": {
                "model_name": plan_of_flags.model_name(args.model),
                "generation_kwargs": plan_of_flags.sampling(args),
            },
        },
    }  # fmt: skip


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the type and the adapters of the model."""
    found: dict[str, Any] = {} if args.dtype == "float32" else {"dtype": args.dtype}
    if args.lora is not None:
        found["lora"] = {"r": args.lora, "alpha": 2 * args.lora}
    return found


def _metrics(args: argparse.Namespace) -> list[str]:
    """Return the ids of the metrics: the given ones, or the reward if it is one."""
    return args.metrics or ([args.reward] if args.reward in METRICS.names() else [])


def _evaluation(args: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "eval_batch_size": args.batch_size,
        "metrics": [{"id": name} for name in _metrics(args)],
        "generation_kwargs": plan_of_flags.sampling(args),
    }
    if args.algorithm != SUPERVISED:
        found |= {"n_iters": args.steps, "eval_every": args.eval_every}
    return found
