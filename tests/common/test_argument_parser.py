"""Flags of commands: misspelt ones, and what is none."""

from __future__ import annotations

import pytest

from common.argument_parser import Parser
from common.errors import UserError


def _parser() -> Parser:
    parser = Parser(prog="command")
    parser.add_argument("--name", required=True)
    parser.add_argument("files", nargs="*")
    return parser


def test_a_misspelt_flag_is_told_before_what_is_missing_without_it() -> None:
    with pytest.raises(UserError, match="'--nmae': unknown option; did you mean '--name'"):
        _parser().parse_args(["--nmae=x"])


def test_what_follows_two_dashes_is_no_flag() -> None:
    assert _parser().parse_args(["--name", "x", "--", "--nmae"]).files == ["--nmae"]
