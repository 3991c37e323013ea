"""Search path and errors of users' own code."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import Interrupted, UserError, printable

CUSTOM = "custom:"
"""Beginning of the name of a user's part, ``"custom:package.module:name"``."""

_PROJECT = Path(__file__).resolve().parents[2]
_OF_THE_PROJECT = [
    str(_PROJECT / name) for name in ("common", "grue", "plots", "sft_vs_rft", "run_plan.py")
]
_SITES = {"site-packages", "dist-packages"}
_INSTALLED = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]


class PartError(UserError):
    """Error of a user's part, whose cause has a traceback worth keeping."""


def look_in(folder: Path) -> None:
    """Search modules in ``folder`` too, after all other places."""
    if str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))


def places() -> str:
    """Return the places where modules are searched, as text for people."""
    folders = [Path(path).absolute() for path in sys.path if Path(path).is_dir()]
    own = [str(folder) for folder in folders if not _is_below(folder, _INSTALLED)]
    return ", ".join([*dict.fromkeys(own), "the installed packages"])


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Report errors inside the block as those of ``part``, with its name and line.

    Raises:
        PartError: ``part`` is a user's own and raised an error other than a `UserError`.
    """
    try:
        yield
    except (UserError, Interrupted):
        raise
    except Exception as error:
        if not part.startswith(CUSTOM):
            raise
        raise PartError(f"'{part}' raised {told(error)}") from error


def told(error: BaseException) -> str:
    """Return kind and text of an error, and the line of the user's code that raised it.

    For an import of the project that is not there any more it names the page on what moved.
    """
    where = _place(error)
    if isinstance(error, SyntaxError):
        text = error.msg
    else:
        text = printable(str(traceback.TracebackException.from_exception(error, limit=0)))
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + (f" ({where})" if where else "") + _moved(error)


def _moved(error: BaseException) -> str:
    name = error.name if isinstance(error, ImportError) else None
    if name is None or not is_of_the_project(_PROJECT / name.partition(".")[0]):
        return ""
    return "; docs/moved.md says from where it is imported now"


def _place(error: BaseException) -> str | None:
    """Return the innermost line in a file that belongs neither to the project nor to a package."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    for name, line in reversed(frames):
        path = Path(name)
        if path.is_file() and not (is_of_the_project(path) or is_installed(path)):
            return f"{name}, line {line}"
    return None


def is_of_the_project(path: Path) -> bool:
    """Return whether a file is the project's own."""
    return _is_below(path.resolve(), _OF_THE_PROJECT)


def is_installed(path: Path) -> bool:
    """Return whether a file is Python's or of an installed package."""
    return _is_below(path, _INSTALLED) or not _SITES.isdisjoint(path.parts)


def _is_below(path: Path, folders: list[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
