"""Reward samples of a model: ``python -m grue.extract --model M --data D --reward R``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.argument_parser import Parser
from common.errors import UserError
from grue.tools import flags, plan_of_flags
from grue.tools.server_flags import add_server_flags

_EPILOG = """\
examples:
  python -m grue.extract --model gpt2 --data prompts.jsonl --reward sentences_with_dates
      16 outputs for each of 500 prompts, their rewards, and how these deviate
  python -m grue.extract --model gpt2 --data prompts.jsonl --reward length --print_plan
      the plan alone
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample; return 0, 1 if that failed, or 2 after an error of the command line."""
    parser = Parser(
        prog="python -m grue.extract",
        description="Samples outputs and scores them: the experiment 'grue_extract' of a plan.",
        epilog=_EPILOG,
    )
    flags.add_model_flags(parser)
    add_server_flags(parser)
    flags.add_data_flags(parser)
    flags.add_sample_flags(parser)
    flags.add_run_flags(parser, "outputs/extract")
    try:
        args = parser.parse_args(arguments)
        flags.check_needed(args, ("model", "data", "reward"))
        return plan_of_flags.make(plan_of_flags.of_extraction(args, "extract"), args) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
