"""Rewards that were computed elsewhere: a table of prompts, outputs and numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np

from common.config.base import INPUT_FILE, Config
from common.errors import UserError
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.tasks.sources.local_files import read_rows
from grue.texts import Texts

_SHOWN = 60


class PrecomputedArgs(Config):
    """Keys of precomputed rewards."""

    path: Annotated[str, INPUT_FILE]
    """Table with the columns ``prompt`` and ``output`` and one per reward: JSONL, JSON, CSV or
    parquet, such as ``"@before.samples"``."""
    column: str
    """Column of the rewards."""


@REWARDS.register("precomputed")
class Precomputed(Reward[PrecomputedArgs]):
    """Number that a table has for a prompt and an output."""

    Args = PrecomputedArgs

    def prepare(self) -> None:
        """Read the table."""
        self._rewards  # noqa: B018  read now, so that a wrong table is told before any run

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] the table's numbers.

        Raises:
            UserError: it has none for an output.
        """
        pairs = list(zip(texts.prompts, texts.outputs, strict=True))
        missing = next((pair for pair in pairs if pair not in self._rewards), None)
        if missing is not None:
            raise UserError(
                f"'path' = '{self.args.path}': has no reward of the output "
                f"{missing[1][:_SHOWN]!r} to the prompt {missing[0][:_SHOWN]!r}; add it, or take "
                "the outputs from the same table ('samples')"
            )
        return np.array([self._rewards[pair] for pair in pairs])

    @functools.cached_property
    def _rewards(self) -> Mapping[tuple[str, str], float]:
        """Return the rewards by prompt and output.

        Raises:
            UserError: the table cannot be read, lacks a column, or has no finite number, or two
                different ones, for an output.
        """
        args, found = self.args, dict[tuple[str, str], float]()
        for number, row in enumerate(read_rows(Path(args.path)), start=1):
            for name in ("prompt", "output", args.column):
                if name not in row:
                    raise UserError(f"'path' = '{args.path}': has no column '{name}'; its columns "
                                    f"are {', '.join(row)}")  # fmt: skip
            reward, pair = _number(row[args.column]), (row["prompt"], row["output"])
            if not math.isfinite(reward) or found.setdefault(pair, reward) != reward:
                raise UserError(
                    f"'path' = '{args.path}': row {number}, '{args.column}' = "
                    f"{row[args.column]!r}: needs one finite number for each prompt and output"
                )
        return found


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # of a table, anything
    except (TypeError, ValueError):
        return math.nan
