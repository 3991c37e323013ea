"""Hugging Face's hub: offline mode if it cannot be reached, and the commits read from it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

_SECONDS = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")

_used: dict[str, str] = {}


@functools.cache
def go_offline_if_unreachable() -> None:
    """Make the Hugging Face libraries use their caches alone if the hub does not answer.

    Otherwise they retry for each file, which takes a minute. The hub is asked once per process.
    """
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # of whatever HTTP client the library has
        # The variable of this name is read when the library is imported, this at each request.
        constants.HF_HUB_OFFLINE = True


def revision_option(revision: str | None) -> dict[str, str]:
    """Return the libraries' argument for a branch, tag or commit; none for None, the default."""
    return {} if revision is None else {"revision": revision}


def note_model(hub_id: str, revision: str | None = None) -> None:
    """Note the commit of a model or tokenizer that has just been loaded from the hub.

    ``revision`` is the configured branch, tag or commit; None for the default.
    """
    _note(hub_id, revision, cached_commit(hub_id, revision))


def note_data_set(hub_id: str, rows: Any, revision: str | None = None) -> None:
    """Note the commit of a data set, likewise; ``rows`` is the result of ``datasets``."""
    commit = _commit_of(rows) or cached_commit(hub_id, revision, kind="dataset")
    _note(f"datasets/{hub_id}", revision, commit)


def forget_commits() -> None:
    """Start a new list of commits."""
    _used.clear()


def commits() -> dict[str, str]:
    """Return the commits loaded since `forget_commits`, by hub id.

    Data sets are ``datasets/<id>``; a configured revision follows an ``@``.
    """
    return dict(_used)


def cached_commit(hub_id: str, revision: str | None = None, *, kind: str = "model") -> str | None:
    """Return the commit that the hub's cache holds for a revision; None if it holds none.

    Args:
        hub_id: id of a model or data set.
        revision: branch, tag or commit; None for the default branch.
        kind: ``"model"`` or ``"dataset"``.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    try:
        name = repo_folder_name(repo_id=hub_id, repo_type=kind)
    except ValueError:
        return None  # a folder's path, or the name of a reader
    folder = Path(constants.HF_HUB_CACHE) / name
    try:
        return (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except OSError:
        return revision if revision and (folder / "snapshots" / revision).is_dir() else None


def cached_snapshot(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the folder of a model's files in the hub's cache; None if it holds none."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    commit = cached_commit(hub_id, revision)
    if commit is None:
        return None
    name = repo_folder_name(repo_id=hub_id, repo_type="model")
    return Path(constants.HF_HUB_CACHE) / name / "snapshots" / commit


def _note(name: str, revision: str | None, commit: str | None) -> None:
    if commit is not None:
        _used[name if revision is None else f"{name}@{revision}"] = commit


def _commit_of(rows: Any) -> str | None:
    """Return the commit in the path of the rows' cache; None if it holds none."""
    files = getattr(rows, "cache_files", None) or []  # rows read over the network have none
    names = (Path(file["filename"]).parent.name for file in files[:1])
    return next((name for name in names if _COMMIT.fullmatch(name)), None)
