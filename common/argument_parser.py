"""Parser of the arguments of this project's commands."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from common.errors import UserError
from common.registry import suggestion


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are `UserError`, and which knows what a misspelt flag means."""

    def __init__(self, *, names_elsewhere: Mapping[str, str] | None = None, **options: Any) -> None:
        """Take the options of the base; descriptions keep their lines, flags have no short form.

        ``names_elsewhere`` are flags by the names that other programs have for them.
        """
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=formatter, allow_abbrev=False, **options)
        self.names_elsewhere = names_elsewhere or {}

    def parse_args(  # type: ignore[override]  # the base has overloads for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse a command line; a misspelt flag is told before what is missing without it."""
        words = sys.argv[1:] if args is None else args
        known = list(self._option_string_actions)
        for word in itertools.takewhile(lambda word: word != "--", words):
            flag = word.partition("=")[0]
            if flag.startswith("--") and " " not in flag and flag not in known:
                named = self.names_elsewhere.get(flag)
                advice = f"; here it is called '{named}'" if named else suggestion(flag, known)
                self.error(f"'{flag}': unknown option{advice}")
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UserError(f"{message}; '{self.prog} --help' lists what can be given")
