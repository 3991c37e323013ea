"""Diagnosis of a reward for a model: ``python -m grue.diagnose --model M --data D --reward R``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from grue.tools import flags

PROGRAM = "python -m grue.diagnose"
_EPILOG = """\
examples:
  python -m grue.diagnose --model gpt2 --data prompts.jsonl --reward sentences_with_dates
      16 outputs for each of 500 prompts, and how their rewards deviate
  python -m grue.diagnose --model Qwen/Qwen2.5-0.5B-Instruct --data openai/gsm8k --config main \\
      --prompt_column question --references_column answer --chat_template --reward exact_answer
  python -m grue.diagnose --from trl outputs/grpo/completions --out diagnosis
      outputs that TRL's trainer has logged, without a model
"""
_NEEDED = ("model", "data", "reward")


def main(arguments: Sequence[str] | None = None) -> int:
    """Diagnose; return 0, 1 if sampling failed, or 2 after an error of the command line."""
    try:
        args = _parser().parse_args(arguments)
        if args.source is None:
            return _of_model(args)
        return _of_files(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = flags.Parser(
        prog=PROGRAM,
        description="Samples outputs, scores them, and says which inputs a policy gradient can "
        "learn from.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_model_flags(parser)
    flags.add_data_flags(parser)
    group = parser.add_argument_group("samples")
    group.add_argument("--num_inputs", type=flags.at_least(int, 1), default=500,
                       help="number of inputs (default: 500)")  # fmt: skip
    group.add_argument("--num_samples", type=flags.at_least(int, 2), default=16,
                       help="number of outputs of each (default: 16)")  # fmt: skip
    group.add_argument("--batch_size", type=flags.at_least(int, 1), default=16,
                       help="number of inputs sampled together (default: 16)")  # fmt: skip
    group.add_argument("--seed", type=flags.at_least(int, 0), default=0,
                       help="seed of inputs, outputs and intervals (default: 0)")  # fmt: skip
    group.add_argument("--gpu_ids", nargs="*", default=(), metavar="ID",
                       help="GPU to use; by default the CPU is used")  # fmt: skip
    group.add_argument("--gradients", action="store_true",
                       help="also estimate the squared norm of each input's expected gradient, "
                       "without bias: a backward pass per different output")  # fmt: skip
    group.add_argument("--sample_cache", default="outputs/sample_cache", metavar="FOLDER",
                       help="folder that keeps outputs by model, prompt and settings, for "
                       "other rewards (default: outputs/sample_cache; '' for none)")  # fmt: skip
    group = parser.add_argument_group("instead of sampling")
    group.add_argument("--from", dest="source", choices=("trl", "verl", "jsonl"),
                       help="trainer that has left the outputs")  # fmt: skip
    group.add_argument("files", nargs="*", type=Path, help="its files, or folders of them")
    group.add_argument("--rewards", nargs="+", metavar="COLUMN",
                       help="columns of rewards, which are added up")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("outputs/diagnosis"),
                        help="folder of the results (default: outputs/diagnosis)")  # fmt: skip
    return parser


def _of_model(args: argparse.Namespace) -> int:
    """Sample and score outputs of the model, then diagnose them."""
    missing = [f"--{name}" for name in _NEEDED if getattr(args, name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: needed, or --from with files; '{PROGRAM} --help' "
                        "shows examples")  # fmt: skip
    if args.files:
        raise UserError(f"{args.files[0]}: files are for --from; data have --data")
    plan_path = args.out / "plan.json"
    status = flags.run_plan(plan(args), plan_path, *_gpu_flags(args))
    if status:
        return status
    from grue.tools import diagnosis_files

    folder = diagnosis_files.run_folder(args.out, plan_path.stem)
    _tell(diagnosis_files.of_run(folder, args.out, seed=args.seed), args.out)
    return 0


def plan(args: argparse.Namespace) -> dict[str, Any]:
    """Return the plan that the flags stand for."""
    figures = ["reward_mean_std", *(["expected_gradients"] if args.gradients else [])]
    return {
        "name": "diagnosis",
        "experiment": "grue_extract",
        "figures": figures,
        "configurations": [
            {
                "base_config": {
                    "experiment_name": "samples",
                    "outputs_dir": str(args.out),
                    "random_seed": args.seed,
                    "datapool": {
                        **flags.datapool(args),
                        f"num_{args.split}_samples": args.num_inputs,
                        "train_samples_rnd_seed": args.seed,
                    },
                    **flags.policy_keys(args),
                    "evaluation": {
                        "split": args.split,
                        "eval_batch_size": args.batch_size,
                        "num_samples_per_input": args.num_samples,
                        **({"gradients": True} if args.gradients else {}),
                        **({"sample_cache": args.sample_cache} if args.sample_cache else {}),
                    },
                    "reward_fn": flags.reward(args.reward),
                }
            }
        ],
    }


def _gpu_flags(args: argparse.Namespace) -> list[str]:
    return ["--gpu_ids", *args.gpu_ids] if args.gpu_ids else []


def _of_files(args: argparse.Namespace) -> int:
    """Diagnose what another trainer has left."""
    from grue.interop.dumps import read_samples
    from grue.tools import diagnosis_files

    if not args.files:
        raise UserError(f"--from {args.source}: name its files, or folders of them")
    samples, rewards = read_samples(args.files, args.source, args.rewards)
    found = diagnosis_files.of_samples(samples, rewards, args.out, seed=args.seed)
    _tell(found, args.out)
    return 0


def _tell(sentences: Sequence[str], folder: Path) -> None:
    print(*sentences, sep="\n")
    print(f"lists of inputs and the table of all: {folder}")


if __name__ == "__main__":
    sys.exit(main())
