"""Published programs' metric files, made from the rows of ``metrics.jsonl``.

The published programs write eight artifacts. The model's folder, the configuration and the
predictions are written elsewhere; this module writes the four (with the training split five) files
of lines, with their published names and keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from common.run.folder import RunFolder, read_json_lines, write_text
from common.run.record_schemas import STEP_ROW

ROLLOUTS = "rollout_info.jsonl"
TRAINING = "training_info.jsonl"
_SPLITS = ("train", "val", "test")
_OF_ROLLOUTS = "rollout_info/"
_NOT_OF_TRAINING = (
    _OF_ROLLOUTS, "reward_std/", "objective/", "elapsed/", *(f"{split}/" for split in _SPLITS)
)  # fmt: skip
_PUBLISHED_PREFIXES = {"a2c/": "ppo/", "nlpo/": "ppo/"}
"""Algorithms whose metrics the published files hold under another one's name."""

Row = Mapping[str, Any]


def write(folder: RunFolder, *, by_iteration: bool) -> None:
    """Write the files of all rows so far; a file without lines is not written.

    With ``by_iteration``, evaluations are labelled as in reinforcement finetuning, see `lines`.
    """
    found = lines(read_json_lines(folder.metrics, STEP_ROW), by_iteration=by_iteration)
    for name, of_file in found.items():
        if of_file:
            text = "".join(json.dumps(line) + "\n" for line in of_file)
            write_text(folder.path / name, text)


def lines(rows: Iterable[Row], *, by_iteration: bool) -> dict[str, list[Row]]:
    """Return the lines of each file.

    A line of rollouts or training belongs to one iteration. A line of a split belongs to one
    evaluation and has its ``epoch``. In supervised finetuning this is the row's. With
    ``by_iteration`` it is the number of the iteration before it, from 0, and 0 for the evaluation
    before all iterations.
    """
    found: dict[str, list[Row]] = {name: [] for name in (ROLLOUTS, TRAINING)}
    for row in rows:
        rollout = {name: value for name, value in row.items() if name.startswith(_OF_ROLLOUTS)}
        if rollout:
            found[ROLLOUTS].append(rollout)
            found[TRAINING].append(
                {
                    _published(name): value
                    for name, value in row.items()
                    if "/" in name and not name.startswith(_NOT_OF_TRAINING)
                }
            )
        epoch = max(row["step"] - 1, 0) if by_iteration else row["epoch"]
        for split in _SPLITS:
            metrics = {
                name.removeprefix(f"{split}/"): value
                for name, value in row.items()
                if name.startswith(f"{split}/")
            }
            if metrics:
                of_split = found.setdefault(f"{split}_split_metrics.jsonl", [])
                of_split.append({"epoch": epoch, "metrics": metrics})
    return found


def _published(name: str) -> str:
    """Return a measurement's name in the published files."""
    for own, published in _PUBLISHED_PREFIXES.items():
        if name.startswith(own):
            return published + name.removeprefix(own)
    return name
