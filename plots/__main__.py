"""Command line of the figures: ``python -m plots FIGURE --runs FOLDER [FOLDER ...]``."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from common.argument_parser import Parser
from common.config.meanings import meaning_of
from common.errors import UserError
from common.process.console import outlive_readers
from plots import FIGURES, Figure, draw, find

PROGRAM = "python -m plots"
REPORT = "report"
_SECONDS_BETWEEN_REPORTS = 30
_OF_REPORT = f"the report of a plan: {PROGRAM} {REPORT} --plan FOLDER [--watch]"
USAGE = f"{PROGRAM} FIGURE --runs FOLDER [FOLDER ...] [--output DIR] [options of the figure]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figure of the arguments and print the paths; return 0, or 2 after an error."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        for path in _draw(given):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _draw(given: list[str]) -> list[Path]:
    if not given or given[0].startswith("-"):
        parser = _overview()
        parser.parse_known_args(given)  # prints the help, if that is what is asked for
        parser.error("the name of a figure comes first")
    name, *rest = given
    if name == REPORT:
        return _report(rest)
    try:
        figure = find(name)
    except UserError as error:
        raise UserError(f"'{name}': {error}") from error
    options = vars(_figure_parser(name, figure).parse_args(rest))
    runs, output = options.pop("runs"), options.pop("output")
    return draw(name, runs, output, **options)


def _report(given: list[str]) -> list[Path]:
    """Write the report of a plan; with ``--watch`` repeatedly, until all its runs have ended."""
    from plots.report.page import has_ended, write_report

    parser = Parser(
        prog=f"{PROGRAM} {REPORT}",
        description="Writes the report of a plan, a page of its own, into the plan's folder.",
        epilog=f"example: {PROGRAM} {REPORT} --plan outputs/quickstart/digits --watch",
    )
    parser.add_argument("--plan", type=Path, required=True, metavar="FOLDER",
                        help="folder of a plan")  # fmt: skip
    parser.add_argument("--watch", action="store_true",
                        help="write it again every half minute while the plan runs")  # fmt: skip
    args = parser.parse_args(given)
    path = write_report(args.plan)
    while args.watch and not has_ended(args.plan):
        print(path, flush=True)
        time.sleep(_SECONDS_BETWEEN_REPORTS)
        path = write_report(args.plan)
    return [path]


def _overview() -> argparse.ArgumentParser:
    """Return a parser for ``--help`` alone: with every figure, its options and an example."""
    figures = {name: find(name) for name in FIGURES.names()}
    width = max(map(len, figures))
    lines = ["figures:"]
    lines += [f"  {name:{width}}  {figure.summary}" for name, figure in figures.items()]
    lines += ["", _OF_REPORT]
    for name, figure in figures.items():
        lines += ["", f"options of {name}:"]
        for key, words in _option_help(figure).items():
            is_switch = figure.options.model_fields[key].annotation is bool
            usage = f"  --{key}, --no-{key}" if is_switch else f"  --{key} VALUE"
            lines += [usage, textwrap.indent(textwrap.fill(words, 90), " " * 6)]
        lines += [f"  example: {_example(name, figure)}"]
    return Parser(
        prog=PROGRAM,
        usage=USAGE,
        description="Draws a figure from the folders of plans and runs: PNG, PDF, and CSV.",
        epilog="\n".join(lines),
    )


def _figure_parser(name: str, figure: Figure) -> argparse.ArgumentParser:
    """Return the parser of one figure; options that are not given are missing in its result."""
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        description=figure.summary,
        epilog=f"example: {_example(name, figure)}",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folders of plans and of single runs",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write (default: 'figures' in the first folder if that is of a plan or a "
        "diagnosis, else in the current one)",
    )
    for key, words in _option_help(figure).items():
        kind: Any = _without_none(figure.options.model_fields[key].annotation)
        how: dict[str, Any] = {"type": kind, "metavar": "VALUE"}
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif get_origin(kind) is list:
            how = {"nargs": "+", "metavar": "VALUE"}
        elif get_origin(kind) is Literal:
            how = {"metavar": "VALUE"}  # what it may be is checked as in a plan
        words = words.replace("%", "%%")
        parser.add_argument(f"--{key}", default=argparse.SUPPRESS, help=words, **how)
    return parser


def _option_help(figure: Figure) -> dict[str, str]:
    """Return help texts: each option's meaning, known values and default."""
    texts = {}
    for key, field in figure.options.model_fields.items():
        kind: Any = _without_none(field.annotation)
        literals = [one for one in (kind, *get_args(kind)) if get_origin(one) is Literal]
        known = [value for one in literals for value in get_args(one)]
        default = field.default
        shown = " ".join(map(_quoted, default)) if isinstance(default, list) else default
        shown = "not given" if shown in (None, "") else shown
        choices = f" Known: {', '.join(map(_quoted, known))}." if known else ""
        meaning = " ".join(meaning_of(figure.options, key).split())
        texts[key] = f"{meaning}{choices} (default: {shown})"
    return texts


def _without_none(annotation: Any) -> Any:
    """Return the type of an option's values if it is given: ``float`` for ``float | None``."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return next(kind for kind in get_args(annotation) if kind is not NoneType)


def _quoted(value: Any) -> str:
    return f'"{value}"' if " " in str(value) else str(value)


def _example(name: str, figure: Figure) -> str:
    return f"{PROGRAM} {name} --runs outputs/my_plan {figure.options.example}".rstrip()


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
