"""Finetuning of a model: ``python -m grue.finetune --model M --data D --reward R``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.argument_parser import Parser
from common.errors import UserError
from grue.tools import finetuning_flags, flags, plan_of_flags

_EPILOG = """\
examples:
  python -m grue.finetune --model gpt2 --data prompts.jsonl --reward sentences_with_dates
      GRPO; the last fifth of the file is for validation and test
  python -m grue.finetune --model gpt2 --data pairs.csv --references_column answer \\
      --algorithm supervised --steps 500 --learning_rate 1e-4 --lora 16
  python -m grue.finetune --model Qwen/Qwen2.5-0.5B-Instruct --data openai/gsm8k --config main \\
      --prompt_column question --references_column answer --chat_template --max_new_tokens 512 \\
      --reward exact_answer --val_split test --print_plan
      the plan alone
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Finetune; return 0, 1 if that failed, or 2 after an error of the command line."""
    parser = Parser(
        prog="python -m grue.finetune",
        description="Finetunes a model by a reward or by references: the experiment "
        "'grue_finetune' of a plan.",
        epilog=_EPILOG,
        names_elsewhere=finetuning_flags.TRL,
    )
    flags.add_model_flags(parser)
    flags.add_data_flags(parser)
    finetuning_flags.add_training_flags(parser)
    flags.add_run_flags(parser, "outputs/finetune")
    try:
        args = parser.parse_args(arguments)
        finetuning_flags.check(args)
        return plan_of_flags.make(finetuning_flags.of_finetuning(args), args) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
