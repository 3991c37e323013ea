"""Writers of prompts as folders of ``datasets``, which the trainers of TRL and verl load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.run.folder import write_table

Rows = Sequence[Mapping[str, Any]]
"""Rows with a ``prompt``, a text or chat messages, and maybe ``references`` and other columns."""
FILE = "train.parquet"
"""File of the rows in a folder: that of the training split."""
_OWN = ("prompt", "references")


def write_for_trl(rows: Rows, folder: Path) -> None:
    """Write rows as ``datasets.load_dataset(folder)`` reads them, for TRL's trainers.

    Columns stay as they are; TRL gives those beside ``prompt`` to its reward functions. Values of
    several types in one column become JSON texts. Without rows no file is left.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    _write({name: [row.get(name) for row in rows] for name in names}, folder)


def write_for_verl(rows: Rows, folder: Path, data_source: str) -> None:
    """Write rows with the columns of verl, whose key ``data.train_files`` names the file.

    The columns are ``data_source``, ``prompt`` (messages), ``reward_model`` (``style`` and
    ``ground_truth``: the reference, or the list of them if a row has several) and ``extra_info``
    (``index`` and what else the rows have). Without rows no file is left.

    Args:
        rows: the rows.
        folder: folder of the file.
        data_source: name by which verl's reward functions are chosen.
    """
    references = [list(row.get("references") or ()) for row in rows]
    has_several = any(len(texts) > 1 for texts in references)
    truths = references if has_several else [texts[0] if texts else "" for texts in references]
    others = dict.fromkeys(name for row in rows for name in row if name not in _OWN)
    columns = {name: _uniform([row.get(name) for row in rows]) for name in others}
    _write(
        {
            "data_source": [data_source for _ in rows],
            "prompt": [_messages(row["prompt"]) for row in rows],
            "reward_model": [{"style": "rule", "ground_truth": truth} for truth in truths],
            "extra_info": [
                {**{name: column[place] for name, column in columns.items()}, "index": place}
                for place in range(len(rows))
            ],
        },
        folder,
    )


def _write(columns: Mapping[str, list[Any]], folder: Path) -> None:
    import pandas as pd

    path = folder / FILE
    if not any(columns.values()):
        path.unlink(missing_ok=True)
        return
    write_table(path, pd.DataFrame({name: _uniform(column) for name, column in columns.items()}))


def _messages(prompt: Any) -> list[dict[str, str]]:
    """Return a prompt as chat messages: a text is what a user says."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [dict(message) for message in prompt]


def _uniform(column: list[Any]) -> list[Any]:
    """Return a column whose values have one type, as JSON texts if need be."""
    import pyarrow

    try:
        pyarrow.array(column)
    except pyarrow.ArrowException:
        return [json.dumps(value, ensure_ascii=False) for value in column]
    return column
