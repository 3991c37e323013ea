"""Disks that take no more: the file, the space that it needs, and advice."""

from __future__ import annotations

import errno
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import text_of

_UNSAID = 0
"""Placeholder for the number of an error that torch does not pass on."""
_ADVICE = {
    errno.ENOSPC: ("no space is left on the disk", "free some"),
    errno.EDQUOT: ("your quota of the disk is used up", "free some of it"),
    errno.EROFS: ("the disk has become read-only", "make it writable"),
    errno.EFBIG: ("files may not become so large", "raise the limit (ulimit -f)"),
}
_ADVICE_UNSAID = (
    "the disk, your quota or the limit on file sizes (ulimit -f) is at its end", "make room"
)  # fmt: skip
_OF_RUST = re.compile(r"\(os error (\d+)\)")
"""Pattern of a system error's number in messages of safetensors and tokenizers."""
_OF_TORCH = re.compile(
    r"inline_container\.cc.*(unexpected pos|PytorchStreamWriter|write failed)|iostream error",
    re.DOTALL,
)
"""Pattern of torch's message about a file that it could not write, whatever the reason."""
_UNITS = ("bytes", "kB", "MB", "GB")


class NoSpace(OSError):
    """Error of a file that does not fit: disk, quota or limit of file size is reached.

    A disk that has become read-only counts as one without space.
    """

    def __init__(self, path: Path, cause: int, need: int | None = None) -> None:
        """Make the error.

        ``cause`` is the system's error, ``need`` the bytes to be written, if known.
        """
        super().__init__(cause, _message(path, cause, need), str(path))

    def __str__(self) -> str:
        """Return the message: what does not fit, why, and how to fix it."""
        return str(self.strerror)


@contextmanager
def explaining_no_space(path: Path, need: int | None = None) -> Iterator[None]:
    """Guard the writing of ``path``, which needs ``need`` bytes.

    Raises:
        NoSpace: an error inside the block was caused by a lack of space.
    """
    try:
        yield
    except Exception as error:
        cause = _cause(error)
        if cause is None:
            raise
        raise NoSpace(path, cause, need) from error


def no_space(error: BaseException, folder: Path) -> NoSpace | None:
    """Return the lack of space that caused ``error``; None if it has another cause.

    ``folder`` is the folder of the file, if the error does not name it.
    """
    links = list(_chain(error))
    for link in links:
        if isinstance(link, NoSpace):
            return link
    cause = _cause(error)
    if cause is None:
        return None
    named = [link.filename for link in links if isinstance(link, OSError)]
    return NoSpace(Path(next((name for name in named if isinstance(name, str)), folder)), cause)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _cause(error: BaseException) -> int | None:
    """Return the system's error behind ``error``, if it is a lack of space."""
    links = list(_chain(error))
    for link in links:
        number = _number(link)
        if isinstance(link, NoSpace) or number in _ADVICE:
            return number
    of_torch = any(
        isinstance(link, RuntimeError) and _OF_TORCH.search(text_of(link)) for link in links
    )
    return _UNSAID if of_torch else None


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    of_rust = _OF_RUST.search(text_of(error))
    return int(of_rust[1]) if of_rust else None


def _message(path: Path, cause: int, need: int | None) -> str:
    why, advice = _ADVICE.get(cause, _ADVICE_UNSAID)
    facts = [] if need is None else [f"it needs {_shown(need)}"]
    if cause == errno.ENOSPC:
        facts.append(f"{_shown(_free(path))} are free")
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if cause == errno.EFBIG and limit != resource.RLIM_INFINITY:
        facts.append(f"the limit is {_shown(limit)}")
    shown = f" ({', '.join(facts)})" if facts else ""
    misfit = "cannot be written" if cause == errno.EROFS else "does not fit"
    return f"{path} {misfit}: {why}{shown}; {advice}, and run the same command again to resume"


def _free(path: Path) -> int:
    """Return the free bytes at ``path``, which need not exist."""
    here = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(here).free


def _shown(num_bytes: int) -> str:
    """Return a size for people, with three digits."""
    exponent = min((len(str(num_bytes)) - 1) // 3, len(_UNITS) - 1)
    return f"{num_bytes / 1000**exponent:.3g} {_UNITS[exponent]}"
