"""Diagnosis of a reward for a model: ``python -m grue.diagnose --model M --data D --reward R``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.argument_parser import Parser
from common.errors import UserError
from grue.tools import flags, plan_of_flags
from grue.tools.server_flags import add_server_flags

_OF_FILES = ("source", "files", "rewards", "reward_weights", "seed", "out")
"""Flags of a diagnosis of files."""
PROGRAM = "python -m grue.diagnose"
_EPILOG = """\
examples:
  python -m grue.diagnose --model gpt2 --data prompts.jsonl --reward sentences_with_dates
      16 outputs for each of 500 prompts, and how their rewards deviate
  python -m grue.diagnose --model Qwen/Qwen2.5-0.5B-Instruct --data openai/gsm8k --config main \\
      --prompt_column question --references_column answer --chat_template --max_new_tokens 512 \\
      --reward exact_answer
  python -m grue.diagnose --server http://localhost:8000/v1 --model Qwen/Qwen2.5-72B-Instruct \\
      --data prompts.jsonl --chat_template --reward custom:my_rewards:correct
      outputs of a model that vLLM, SGLang, llama.cpp or transformers serve has
  python -m grue.diagnose --from trl outputs/grpo/completions --out diagnosis
      outputs that TRL's trainer has logged, without a model
"""


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
    parser = Parser(
        prog=PROGRAM,
        description="Samples outputs, scores them, and says which inputs a policy gradient can "
        "learn from.",
        epilog=_EPILOG,
    )
    flags.add_model_flags(parser)
    add_server_flags(parser)
    flags.add_data_flags(parser)
    flags.add_sample_flags(parser)
    group = parser.add_argument_group("instead of sampling")
    group.add_argument("--from", dest="source", choices=("trl", "verl", "jsonl"),
                       help="trainer that has left the outputs")  # fmt: skip
    group.add_argument("files", nargs="*", type=Path, help="its files, or folders of them")
    group.add_argument("--rewards", nargs="+", metavar="COLUMN",
                       help="columns of rewards, which are added up")  # fmt: skip
    group.add_argument("--reward_weights", nargs="+", type=float, metavar="WEIGHT",
                       help="weights of the rewards in their sum, one for each; by default those "
                       "that the run's folder tells, or equal ones")  # fmt: skip
    flags.add_run_flags(parser, "outputs/diagnosis")
    return parser


def _of_model(args: argparse.Namespace) -> int:
    """Sample and score outputs of the model, then diagnose them."""
    flags.check_needed(args, ("model", "data", "reward"), ", or --from with files")
    if args.files:
        raise UserError(f"{args.files[0]}: files are for --from; data have --data")
    for flag in ("rewards", "reward_weights"):
        if getattr(args, flag):
            raise UserError(f"--{flag}: is for --from; a model's outputs have --reward")
    status = plan_of_flags.make(plan_of_flags.of_extraction(args, "diagnosis"), args)
    if status is None:
        return 0
    if status:
        return status
    from grue.tools import diagnosis_files

    folder = diagnosis_files.run_folder(args.out, plan_of_flags.plan_path(args.out).stem)
    _tell(diagnosis_files.of_run(folder, args.out, seed=args.seed), args.out)
    return 0


def _of_files(args: argparse.Namespace) -> int:
    """Diagnose what another trainer has left."""
    from grue.interop.dumps import read_samples
    from grue.interop.reward_weights import weights_of
    from grue.interop.trl_run import run_of
    from grue.tools import diagnosis_files

    if not args.files:
        raise UserError(f"--from {args.source}: name its files, or folders of them")
    usual = vars(_parser().parse_args([]))
    given = [
        f"--{name}"
        for name, value in vars(args).items()
        if name not in _OF_FILES and value != usual[name]
    ]
    if given:
        raise UserError(f"{', '.join(given)}: the files of --from have the outputs and their "
                        "rewards already; drop it")  # fmt: skip
    run = run_of(args.files) if args.source == "trl" else None
    logged = read_samples(args.files, args.source, args.rewards, run)
    weights = weights_of(logged, run, args.reward_weights)
    found = diagnosis_files.of_samples(
        logged.samples, weights.by_name, args.out, seed=args.seed, source=args.source,
        told=weights.sentences, files=args.files, run=run,
    )  # fmt: skip
    _tell(found, args.out)
    return 0


def _tell(sentences: Sequence[str], folder: Path) -> None:
    """Print the sentences, and leave a page of them and of the inputs."""
    print(*sentences, sep="\n")
    print(f"lists of inputs and the table of all: {folder}", flush=True)
    plan_of_flags.write_report(folder)


if __name__ == "__main__":
    sys.exit(main())
