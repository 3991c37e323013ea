"""Hugging Face's hub, and offline mode if it cannot be reached."""

from __future__ import annotations

import functools

_SECONDS = 10.0


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
