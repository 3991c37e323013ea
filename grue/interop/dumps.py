"""Readers of the outputs that other trainers leave, as this project's table of samples.

TRL writes ``completions_*.parquet`` with ``log_completions``, verl ``<step>.jsonl`` with
``trainer.rollout_data_dir``; plain JSON lines need a prompt, an output and a reward.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.errors import UserError
from grue.interop.trl_run import COMPLETIONS, TrlRun

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STEP, ADVANTAGE = "step", "advantage"
"""Columns of numbers that are no rewards."""


@dataclass(frozen=True)
class Format:
    """Format of a trainer's files."""

    read: Callable[[Path], pd.DataFrame]
    """Function that returns the rows of one file."""
    prompt: tuple[str, ...]
    """Names that the column of prompts may have."""
    output: tuple[str, ...]
    """Names that the column of outputs may have."""
    rewards: tuple[str, ...]
    """Names of rewards; none to take all other columns of numbers."""
    others: tuple[str, ...] = ()
    """Columns of numbers that are no rewards."""


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)


def _read_json_lines(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_json(path, lines=True, dtype=False)


FORMATS: Mapping[str, Format] = {
    "trl": Format(_read_parquet, ("prompt",), ("completion",), (), (STEP, ADVANTAGE)),
    "verl": Format(_read_json_lines, ("input",), ("output",), ("score",), (STEP,)),
    "jsonl": Format(
        _read_json_lines, ("prompt", "input", "query"), ("output", "completion", "response"), (),
        (STEP, ADVANTAGE),
    ),
}  # fmt: skip
"""Formats by the name of the trainer."""


class Logged(NamedTuple):
    """Samples that a trainer has left."""

    samples: pd.DataFrame
    """Columns of an extraction's ``samples.parquet`` (input_id, index, sample_id, prompt, output
    and one per reward), and `STEP` and `ADVANTAGE` where the files tell them."""
    rewards: list[str]
    """Names of the rewards to add up."""
    every: list[str]
    """Names of all rewards in the files, in the run's order."""


def read_samples(
    paths: Sequence[Path],
    format_name: str,
    rewards: Sequence[str] | None = None,
    run: TrlRun | None = None,
) -> Logged:
    """Return the samples in a trainer's files.

    An input is a prompt of a step, since the policy changes between steps. All inputs have equally
    many samples: those that have another number than most are left out, with a warning.

    Args:
        paths: files, or folders of them.
        format_name: one of `FORMATS`.
        rewards: names of the rewards; None for all of them.
        run: run that has left the files, which may tell which columns are rewards.

    Raises:
        UserError: a file cannot be read or lacks a column, or no prompt has two outputs.
    """
    import pandas as pd

    form = FORMATS[format_name]
    tables = [_read(path, form, format_name) for path in _files(paths, format_name)]
    table = pd.concat(tables, ignore_index=True)
    numbers = list(form.rewards) or _numbers(table, form)
    every = numbers if run is None else run.rewards_among(numbers)
    names = list(rewards or every)
    _check_rewards(table, names, format_name)
    columns = {
        "prompt": table[_column(table, form.prompt, format_name)].map(_text),
        "output": table[_column(table, form.output, format_name)].map(_text),
        **{name: table[name].astype(np.float64) for name in names},
    }
    columns |= {name: table[name] for name in form.others if name in table}
    return Logged(_numbered(pd.DataFrame(columns)), names, every)


def _files(paths: Sequence[Path], format_name: str) -> list[Path]:
    """Return the files, those in folders in the order of the numbers in their names."""
    pattern = "*.parquet" if format_name == "trl" else "*.jsonl"
    found: list[Path] = []
    for path in paths:
        if format_name == "trl" and (path / COMPLETIONS).is_dir():
            path /= COMPLETIONS  # the trainer's folder
        if path.is_dir():
            found += sorted(path.glob(pattern), key=_by_number)
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: there is no such file or folder")
    if not found:
        names = ", ".join(map(str, paths))
        raise UserError(f"{names}: holds no {pattern}; name the files of --from {format_name}")
    return found


def _by_number(path: Path) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, path.stem))
    return int(digits or 0), path.name


def _read(path: Path, form: Format, format_name: str) -> pd.DataFrame:
    try:
        return form.read(path)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is no file of --from {format_name}: {reason}") from None


def _column(table: pd.DataFrame, names: Sequence[str], format_name: str) -> str:
    """Return the first of the names that the table has as a column."""
    for name in names:
        if name in table:
            return name
    raise UserError(
        f"--from {format_name}: no column {' or '.join(names)}; there are "
        f"{', '.join(map(str, table.columns))}"
    )


def _numbers(table: pd.DataFrame, form: Format) -> list[str]:
    """Return the columns of numbers, of which each is a reward."""
    return [
        str(name)
        for name, column in table.items()
        if column.dtype.kind in "fiub" and name not in form.others
    ]


def _check_rewards(table: pd.DataFrame, names: Sequence[str], format_name: str) -> None:
    there = ", ".join(map(str, table.columns))
    if not names:
        raise UserError(
            f"--from {format_name}: no column of numbers is a reward; there are {there}"
        )
    for name in names:
        if name not in table:
            raise UserError(f"--rewards {name}: no such column; there are {there}")
        wrong = table.index[~np.isfinite(_as_numbers(table[name], name))]
        if len(wrong):
            raise UserError(
                f"--rewards {name}: is no finite number in {len(wrong)} rows, the first is row "
                f"{wrong[0]}; leave that reward out with --rewards"
            )


def _as_numbers(column: pd.Series[Any], name: str) -> Any:
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError):
        raise UserError(f"--rewards {name}: holds {column.iloc[0]!r}, no number") from None


def _text(value: Any) -> str:
    """Return a prompt or output as text; messages of a chat as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        content = value[0].get("content")
        if isinstance(content, str):
            return content
    return json.dumps(value, ensure_ascii=False)


def _numbered(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples with their inputs' ids and their numbers, as many of each input."""
    keys = [STEP, "prompt"] if STEP in samples else ["prompt"]
    groups = samples.groupby(keys, sort=False)
    sizes = groups["prompt"].transform("size")
    usual = int(sizes.mode().max())
    if usual < 2:
        raise UserError("no prompt has two outputs in the same step; groups of outputs are needed")
    left_out = samples[sizes != usual].groupby(keys).ngroups
    if left_out:
        log.warning("%d of %d inputs have not %d outputs as most have, and are left out", left_out,
                    groups.ngroups, usual)  # fmt: skip
    kept = samples[sizes == usual]
    groups = kept.groupby(keys, sort=False)
    index = groups.ngroup()
    numbered = kept.assign(
        input_id=index.map(str), index=index, sample_id=groups.cumcount()
    ).sort_values(["index", "sample_id"], ignore_index=True)
    first = ["input_id", "index", "sample_id", "prompt", "output"]
    return numbered[[*first, *(name for name in numbered.columns if name not in first)]]
