"""Rows of data sets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.machine.hub_offline import go_offline_if_unreachable, note_data_set, revision_option
from grue.tasks.task import Split

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_NAMES: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""Names of the splits on the hub."""


class HubError(UserError):
    """Error of a data set that cannot be loaded from the hub."""


@dataclass(frozen=True)
class Hub:
    """Location of a data set on the hub."""

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``datasets.load_dataset``."""
    instead: str = "set 'datapool.args.path' to a local file or folder of the same columns"
    """Advice for where the hub cannot be reached."""

    def at(self, revision: str | None) -> Hub:
        """Return the data set at a branch, tag or commit; itself for None."""
        return replace(self, options={**self.options, **revision_option(revision)})

    def load(self, split: Split) -> Dataset:
        """Return the rows of a split, downloaded or from the library's cache.

        Raises:
            HubError: there is no such data set, or the hub cannot be reached.
        """
        return self.load_named(SPLIT_NAMES[split])

    def load_named(self, split: str) -> Dataset:
        """Return the rows of a split, by the data set's own name for it, as `load` does."""
        import datasets

        go_offline_if_unreachable()
        try:
            found = datasets.load_dataset(self.id, **self.options, split=split)
        except Exception as error:  # the library raises many kinds, network errors among them
            raise self._error(error) from error
        note_data_set(self.id, found, self.options.get("revision"))
        return found

    def stream(self, split: Split) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a split one after the other, holding few of them at a time.

        Raises:
            HubError: there is no such data set, or the hub cannot be reached.
        """
        rows = self.load(split)
        try:
            yield from rows
        except Exception as error:  # of the network, where the rows are read over it
            raise self._error(error) from error

    def _error(self, error: Exception) -> HubError:
        found = f"{type(error).__name__}: {error}"
        return HubError(
            f"the data set {self} cannot be loaded from the hub ({found}); {self.instead}"
        )

    def __str__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"'{self.id}'{options}"


def parquet_branch(name: str, config: str | None = None) -> Hub:
    """Return a data set that is a loading script, in the hub's own conversion to parquet.

    The branch has a folder for each configuration.
    """
    options = {"revision": "refs/convert/parquet"}
    return Hub(name, options if config is None else {**options, "data_dir": config})
