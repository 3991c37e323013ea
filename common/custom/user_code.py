"""Code outside the project that a plan names: where it is looked for, and where it fails."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import Interrupted, UserError, printable

CUSTOM = "custom:"
"""How the name of a part outside the project begins, ``"custom:package.module:name"``."""

_PROJECT = Path(__file__).resolve().parents[2]
_OF_THE_PROJECT = [
    str(_PROJECT / name) for name in ("common", "grue", "plots", "sft_vs_rft", "run_plan.py")
]
_SITES = {"site-packages", "dist-packages"}
_INSTALLED = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]


class PartError(UserError):
    """What a part outside the project did wrong; the traceback of its cause is worth keeping."""


def look_in(folder: Path) -> None:
    """Has modules looked for in ``folder`` too, behind all other places."""
    if str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))


def places() -> str:
    """Where modules are looked for, for people."""
    folders = [Path(path).absolute() for path in sys.path if Path(path).is_dir()]
    own = [str(folder) for folder in folders if not _is_below(folder, _INSTALLED)]
    return ", ".join([*dict.fromkeys(own), "the installed packages"])


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Inside the block an error of ``part``, which a plan names, is told with its name and place.

    Raises:
        PartError: it is a part outside the project, and raised an error that says nothing of it.
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
    """Kind and text of an error, and the line of the user's code that it comes from."""
    where = _place(error)
    if isinstance(error, SyntaxError):
        text = error.msg
    else:
        text = printable(str(traceback.TracebackException.from_exception(error, limit=0)))
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + (f" ({where})" if where else "")


def _place(error: BaseException) -> str | None:
    """The innermost line in a file that is neither the project's nor an installed package's."""
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
