"""Names of models that do not exist."""

from __future__ import annotations

from pathlib import Path

from common.machine.hub_offline import cached_commit, go_offline_if_unreachable


def why_not_here(name: str, revision: str | None = None) -> str | None:
    """Return why no local folder and no model of the hub has the name; None if one may have it.

    ``revision`` is the branch, tag or commit of a hub id; None for the default branch.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # is public

    try:
        validate_repo_id(name)
    except HFValidationError:
        return (
            "there is no such folder, and ids on the hub have the form 'name' or 'owner/name'; "
            "fix the path, or name a stage ('@<id>.model')"
        )
    cached = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    if cached.is_dir() and (revision is None or cached_commit(name, revision)):
        return None
    go_offline_if_unreachable()
    if not constants.is_offline_mode():
        return None
    what = "it" if revision is None else f"its revision '{revision}'"
    return (
        f"there is no such folder, {what} is not in the hub's cache, and the hub cannot be reached "
        "from here (or HF_HUB_OFFLINE is set); fix the path, or download the model beforehand"
    )
