"""CRD3: the next turn of a role-playing game (Rameshkumar and Bailey, 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from common.errors import UserError
from grue.tasks.sources.local_files import at_path, path_error, read_rows, read_text, split_file
from grue.tasks.sources.rows import Nested, Row, checked_rows
from grue.tasks.task import TASKS, Sample, Split, Task, TaskArgs

_ARCHIVE = "https://github.com/RevanthRameshkumar/CRD3/archive/refs/heads/master.zip"
_UNPACKED = "CRD3-master"
_LISTS, _EPISODES = "data/aligned data", "data/cleaned data"
_FEWEST_EARLIER_TURNS = 2


class Crd3Args(TaskArgs):
    """Keys of the CRD3 task; the path may be the unpacked repository of the data set."""

    max_context_size: Annotated[int, Field(gt=0)]
    """Largest number of earlier turns in the prompt, the last ones before the target turn."""


class _Turn(BaseModel):
    model_config = ConfigDict(strict=True)
    NAMES: Annotated[list[str], Field(min_length=1)]
    UTTERANCES: list[str]

    def said(self) -> str:
        return " ".join(self.UTTERANCES)

    def line(self) -> str:
        return f"{self.NAMES[0]}: {self.said()}"


class _Episode(Row):
    TURNS: Nested[list[_Turn]]


@TASKS.register("crd3")
class Crd3(Task[Crd3Args]):
    """Conversations: column ``TURNS``, a list of turns with ``NAMES`` and ``UTTERANCES``.

    Without a path, the repository of the data set is downloaded into the cache of ``datasets``.
    """

    Args = Crd3Args

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each turn with at least two turns before it in its episode.

        The prompt has a line for each earlier turn, and the (first) speaker of the target turn.
        """
        return [
            sample
            for number, episode in enumerate(self._episodes(split))
            for sample in _samples(episode.TURNS, f"{split}_ep_{number}", self.args)
        ]

    def _episodes(self, split: Split) -> list[_Episode]:
        path = _download() if self.args.path is None else self.args.path
        if (Path(path) / _LISTS).is_dir():
            return [_episode(file) for file in _episode_files(Path(path), split)]
        file = split_file(path, split)
        return checked_rows(_Episode, read_rows(file), at_path(file))


def _samples(turns: list[_Turn], name: str, args: Crd3Args) -> Iterator[Sample]:
    lines = [turn.line() for turn in turns]
    for i in range(_FEWEST_EARLIER_TURNS, len(turns)):
        context = lines[max(i - args.max_context_size, 0) : i]
        prompt = "\n".join([*context, f"{turns[i].NAMES[0]}: "])
        yield Sample(f"{name}_turn_{i}", prompt, (turns[i].said(),))


def _episode_files(repository: Path, split: Split) -> Iterator[Path]:
    """Return the episodes that the data set's own list gives to a split."""
    names = read_text(repository / _LISTS / f"{split}_files").split()
    if not names:
        raise path_error(repository, f"{_LISTS}/{split}_files names no episode")
    return (repository / _EPISODES / f"{name}.json" for name in names)


def _episode(file: Path) -> _Episode:
    return checked_rows(_Episode, read_rows(file), at_path(file))[0]


def _download() -> str:
    """Return the folder of the unpacked repository."""
    import datasets

    try:
        unpacked = datasets.DownloadManager().download_and_extract(_ARCHIVE)
    except Exception as error:  # the library raises many kinds, network errors among them
        raise UserError(
            f"{_ARCHIVE} cannot be loaded ({type(error).__name__}: {error}); set "
            "'datapool.args.path' to a local copy of the repository"
        ) from error
    return str(Path(unpacked) / _UNPACKED)
