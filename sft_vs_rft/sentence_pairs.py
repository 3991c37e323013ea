"""STS-B: pairs of sentences with a similarity of 0 to 5, rounded to six classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from sft_vs_rft.bert import load_tokenizer
from sft_vs_rft.inputs import Inputs, TextInputs
from sft_vs_rft.pools import Pool

NUM_CLASSES = 6
_HUB_ID, _HUB_CONFIG = "nyu-mll/glue", "stsb"
_COLUMNS = ("sentence1", "sentence2", "label")
_READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_LONGEST = 512  # tokens; BERT has no more positions


def stsb_pool(data_path: str | None, model_type: str) -> Pool:
    """The pool in a folder with ``train.*`` and ``validation.*``, or the hub's where none is given.

    The validation part is the test part, always taken whole, as published.

    Raises:
        UserError: a file, column or vocabulary is missing.
    """
    tokenize = load_tokenizer(model_type)
    parts = {name: _read(data_path, name) for name in ("train", "validation")}
    labels = {name: _classes(rows["label"]) for name, rows in parts.items()}
    takes = {name: _taking(rows, tokenize) for name, rows in parts.items()}
    return Pool(
        takes["train"],
        labels["train"],
        takes["validation"],
        labels["validation"],
        NUM_CLASSES,
        input_shape=(),
        test_is_whole=True,
    )


def _classes(scores: list[float]) -> Tensor:
    """[n] scores rounded half to even, as published."""
    classes = torch.tensor(scores, dtype=torch.float64).round().long()
    if len(classes) == 0 or classes.min() < 0 or classes.max() >= NUM_CLASSES:
        raise UserError("the column 'label' must hold scores from 0 to 5")
    return classes


def _taking(
    rows: dict[str, list[Any]], tokenize: Callable[..., Any]
) -> Callable[[Tensor, torch.device], Inputs]:
    def take(index: Tensor, device: torch.device) -> Inputs:
        chosen = index.tolist()
        tokens = tokenize(
            [rows["sentence1"][i] for i in chosen],
            [rows["sentence2"][i] for i in chosen],
            padding="longest",
            truncation=True,
            max_length=_LONGEST,
            return_tensors="pt",
        )
        return TextInputs(
            tokens["input_ids"].to(device),
            tokens["token_type_ids"].to(device),
            tokens["attention_mask"].sum(1).cpu(),
        )

    return take


def _read(data_path: str | None, part: str) -> dict[str, list[Any]]:
    """The needed columns of one part."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    try:
        if data_path is None:
            table = load_dataset(_HUB_ID, _HUB_CONFIG, split=part)
        else:
            file = _file(Path(data_path), part)
            table = load_dataset(_READERS[file.suffix], data_files={part: str(file)}, split=part)
    except UserError:
        raise
    except Exception as error:  # the hub and the readers raise all sorts
        why = " ".join(str(error).split())[:300]
        raise UserError(
            f"STS-B cannot be read ({why}); set 'data_path' to a folder with train.* and "
            "validation.* as JSONL, CSV or parquet"
        ) from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise UserError(
            f"{part} lacks the columns {', '.join(missing)}; needed: {', '.join(_COLUMNS)}; "
            f"found: {', '.join(table.column_names)}"
        )
    return {name: list(table[name]) for name in _COLUMNS}


def _file(folder: Path, part: str) -> Path:
    found = [folder / f"{part}{suffix}" for suffix in _READERS]
    for file in found:
        if file.exists():
            return file
    raise UserError(f"there is none of {', '.join(str(file) for file in found)}")
