"""STS-B: pairs of sentences with a similarity of 0 to 5, rounded to six classes."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.files.surrogates import why_not_utf8
from common.machine.hub_offline import go_offline_if_unreachable, note_data_set, revision_option
from sft_vs_rft.data.inputs import Inputs, TextInputs
from sft_vs_rft.data.pools import Pool, Take
from sft_vs_rft.models.bert import load_tokenizer

NUM_CLASSES = 6
_HUB_ID = "nyu-mll/glue"
_HUB_OPTIONS: dict[str, Any] = {"name": "stsb"}
_SENTENCES = ("sentence1", "sentence2")
_COLUMNS = (*_SENTENCES, "label")
_CSV_AS_IT_STANDS = {  # pandas takes words such as "None" for missing, and digits for numbers
    "keep_default_na": False,
    "na_values": {"label": [""]},
    "converters": dict.fromkeys(_SENTENCES, str),
}
_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", _CSV_AS_IT_STANDS),
    ".parquet": ("parquet", {}),
}


def stsb_pool(
    data_path: str | None,
    model_type: str,
    *,
    data_revision: str | None = None,
    model_revision: str | None = None,
) -> Pool:
    """Return the pool in a folder with ``train.*`` and ``validation.*``, or the hub's without one.

    Revisions are those of what comes from the hub.
    The validation part is the test part, which is always used whole, as published.

    Raises:
        UserError: a file, column or vocabulary is missing.
    """
    tokenizer = load_tokenizer(model_type, model_revision)
    parts = {name: _read(data_path, name, data_revision) for name in ("train", "validation")}
    labels = {name: _classes(rows["label"]) for name, rows in parts.items()}
    takes = {name: _taking(rows, tokenizer) for name, rows in parts.items()}
    return Pool(
        takes["train"],
        labels["train"],
        takes["validation"],
        labels["validation"],
        NUM_CLASSES,
        input_shape=(),
        test_is_whole=True,
    )


def _classes(scores: list[Any]) -> Tensor:
    """Return [n] scores rounded half to even, as published."""
    return torch.tensor([round(score) for score in scores])


def _taking(rows: dict[str, list[Any]], tokenizer: Any) -> Take:
    def take(index: Tensor, device: torch.device) -> Inputs:
        chosen = index.tolist()
        tokens = tokenizer(
            *([rows[name][i] for i in chosen] for name in _SENTENCES),
            padding="longest",
            truncation=True,
            return_token_type_ids=True,
            return_tensors="pt",
        )
        return TextInputs(
            tokens["input_ids"].to(device),
            tokens["token_type_ids"].to(device),
            tokens["attention_mask"].sum(1).cpu(),
        )

    return take


def _read(data_path: str | None, part: str, revision: str | None) -> dict[str, list[Any]]:
    """Return the needed columns of one part."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # it logs what it raises
    if data_path is None:
        go_offline_if_unreachable()
        source: str | Path = _HUB_ID
        kind, options = _HUB_ID, _HUB_OPTIONS | revision_option(revision)
    else:
        source = _file(Path(data_path), part)
        kind, options = _READERS[source.suffix]
        options = {**options, "data_files": {part: str(source)}}
    try:
        table = load_dataset(kind, **options, split=part)
        found = {name: list(table[name]) for name in table.column_names if name in _COLUMNS}
    except Exception as error:  # the hub and the readers raise all sorts
        raise UserError(
            f"{source} cannot be read ({_reason(error, source)}); set 'data_path' to a folder with "
            "train.* and validation.* as JSONL, CSV or parquet"
        ) from error
    if data_path is None:
        note_data_set(_HUB_ID, table, revision)
    missing = [name for name in _COLUMNS if name not in found]
    if missing:
        raise UserError(
            f"{part} lacks the columns {', '.join(missing)}; needed: {', '.join(_COLUMNS)}; "
            f"found: {', '.join(table.column_names)}"
        )
    _check(found, part)
    return found


def _reason(error: BaseException, source: str | Path) -> str:
    """First problem of a part."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, UnicodeDecodeError) and isinstance(source, Path):
        return why_not_utf8(source)
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check(rows: dict[str, list[Any]], part: str) -> None:
    """Refuse a part without rows, and report its first invalid cell."""
    if not rows["label"]:
        raise UserError(f"{part} holds no rows")
    for name, cells in rows.items():
        fits, needed = _NEEDED[name]
        for number, cell in enumerate(cells, start=1):
            if not fits(cell):
                raise UserError(f"{part}, row {number}: '{name}' = {cell!r} is not {needed}")


def _is_text(cell: object) -> bool:
    return isinstance(cell, str) and bool(cell.strip())


def _is_score(cell: object) -> bool:
    if not isinstance(cell, int | float) or isinstance(cell, bool):
        return False
    return math.isfinite(cell) and 0 <= round(cell) < NUM_CLASSES


_NEEDED = {
    **dict.fromkeys(_SENTENCES, (_is_text, "a text")),
    "label": (_is_score, "a score from 0 to 5"),
}


def _file(folder: Path, part: str) -> Path:
    found = [folder / f"{part}{suffix}" for suffix in _READERS]
    for file in found:
        if file.exists():
            return file
    raise UserError(f"there is none of {', '.join(str(file) for file in found)}")
