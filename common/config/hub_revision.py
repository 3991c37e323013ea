"""Revisions of models and data sets on Hugging Face's hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from common.config.base import LATER, Config, OptionalText
from common.errors import Problem
from common.files.paths import is_there

Revision = Annotated[OptionalText, LATER]
"""Branch, tag or commit on the hub; None (or the empty string) for the default branch."""


class FromHub(Config):
    """Keys of a model or data set that may be read from the hub."""

    hub_id_key: ClassVar[str] = "model_name"
    """Key of its id on the hub."""

    revision: Revision = None
    """Branch, tag or commit of the hub id; None (or the empty string) for its default branch."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of something that is not on the hub."""
        yield from super().problems()
        name = getattr(self, self.hub_id_key)
        yield from misplaced_revision(self.revision, name, self.hub_id_key)


def misplaced_revision(
    revision: str | None, name: str | None, name_key: str, key: str = "revision"
) -> Iterator[Problem]:
    """Yield the problem of a revision, the value of ``key``, of something that has no hub id.

    ``name`` is the value of ``name_key``: an id on the hub, a folder, or a reference to a stage.
    """
    if revision is None:
        return
    if name is None:
        reason = f"is of a hub id, and '{name_key}' gives none"
    elif name.startswith(("@", "~")) or is_there(name):
        what = "a stage's file" if name.startswith("@") else "a local file or folder"
        reason = f"is of a hub id, and '{name_key}' = '{name}' is {what}"
    else:
        return
    yield Problem(f"{reason}; take it out", key, revision)
