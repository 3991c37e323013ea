"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.machine.hub import go_offline_if_unreachable
from grue.tasks.task import Split

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_NAMES: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""What the hub calls the splits."""


class HubError(UserError):
    """A data set that the hub does not give."""


@dataclass(frozen=True)
class Hub:
    """Where a data set stands."""

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``datasets.load_dataset``."""

    def load(self, split: Split) -> Dataset:
        """The rows of a split, downloaded or from the library's cache.

        Raises:
            HubError: the data set is not there or the hub cannot be reached.
        """
        return self.load_named(SPLIT_NAMES[split])

    def load_named(self, split: str) -> Dataset:
        """Like `load`, for a split by the data set's own name for it."""
        import datasets

        go_offline_if_unreachable()
        try:
            return datasets.load_dataset(self.id, **self.options, split=split)
        except Exception as error:  # the library raises many kinds, network errors among them
            raise self._error(error) from error

    def stream(self, split: Split) -> Iterator[Mapping[str, Any]]:
        """The rows of a split one after the other; few of them are held at a time.

        Raises:
            HubError: the data set is not there or the hub cannot be reached.
        """
        rows = self.load(split)
        try:
            yield from rows
        except Exception as error:  # of the network, where the rows are read over it
            raise self._error(error) from error

    def _error(self, error: Exception) -> HubError:
        found = f"{type(error).__name__}: {error}"
        return HubError(
            f"the data set {self} cannot be loaded from the hub ({found}); "
            "set 'datapool.args.path' to a local file or folder of the same columns"
        )

    def __str__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"'{self.id}'{options}"


def parquet_branch(name: str, config: str | None = None) -> Hub:
    """A data set whose main branch is a script: the hub's own conversion of it to parquet.

    The branch has a folder for each configuration.
    """
    options = {"revision": "refs/convert/parquet"}
    return Hub(name, options if config is None else {**options, "data_dir": config})
