"""Answers of a server, on the disk as soon as they are there, and taken from there again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import NonNegativeInt, Strict, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.files.fsync import make_folder
from common.files.no_space import explaining_no_space
from common.hashing import text_hash
from common.run.folder import read_json_lines, write_text
from common.run.lease import check_lease
from grue.policies.server.client import Output


@with_config({"strict": True})
class _Row(TypedDict):
    """Line of a file: the answer to one request."""

    request: str
    outputs: list[Annotated[tuple[str, NonNegativeInt | None], Strict(False)]]


_ROW = TypeAdapter(_Row)


class Answers:
    """Outputs by the hash of the request that asked for them.

    They are in the files of a folder, one for each run that asks, so that runs may share it. A line
    is the answer to one request.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        """Read what all runs have left; ``run`` is the folder of this one."""
        self._path = folder / f"{run.name}-{text_hash(str(run.resolve()))[:16]}.jsonl"
        rows = {path: read_json_lines(path, _ROW) for path in sorted(folder.glob("*.jsonl"))}
        self._found = {
            row["request"]: [Output(*output) for output in row["outputs"]]
            for of_run in rows.values()
            for row in of_run
        }
        make_folder(folder)
        if self._path in rows:  # whose last line a kill may have cut
            write_text(self._path, "".join(map(_line, rows[self._path])))

    def __contains__(self, request: str) -> bool:
        return request in self._found

    def __getitem__(self, request: str) -> Sequence[Output]:
        return self._found[request]

    def add(self, request: str, outputs: Sequence[Output]) -> None:
        """Keep the answer to a request."""
        self._found[request] = list(outputs)
        pairs = [(output.text, output.num_tokens) for output in outputs]
        line = _line({"request": request, "outputs": pairs})
        with explaining_no_space(self._path, len(line)):
            check_lease(self._path)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"
