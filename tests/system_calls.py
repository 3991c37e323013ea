"""What a program and its children have put onto the disk, and when, as ``strace`` tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_OF_PATHS = (
    "open", "openat", "creat", "rename", "renameat", "renameat2", "link", "linkat", "symlink",
    "symlinkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat",
)  # fmt: skip
_OF_DESCRIPTORS = (
    "write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate", "sendfile",
    "copy_file_range", "fsync", "fdatasync",
)  # fmt: skip

_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>\S+)")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"')


def traced(log: Path) -> list[str]:
    """What stands before a command whose system calls are to be written to ``log``."""
    calls = ",".join((*_OF_PATHS, *_OF_DESCRIPTORS))
    options = ["-f", "-y", "-s", "300", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(log)]
    return ["strace", *options]


@dataclass(frozen=True)
class Call:
    """A call that went well."""

    name: str
    arguments: str
    paths: list[str]
    """The absolute paths that it names, or of the descriptors that it is given."""
    opened: str
    """The path of the descriptor that it gives."""


def calls(log: Path, folder: Path) -> Iterator[Call]:
    """The calls of processes that work in ``folder``, in the order in which they have ended."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        process, rest = line.split(maxsplit=1)
        if rest.endswith(_UNFINISHED):
            begun[process] = rest.removesuffix(_UNFINISHED)
            continue
        resumed = _RESUMED.match(rest)
        found = _CALL.match(begun.pop(process) + resumed[1] if resumed else rest)
        if found and not found["result"].startswith("-"):
            name, arguments = found["name"], found["arguments"]
            paths = _named(arguments, folder) if name in _OF_PATHS else _given(arguments)
            opened = _DESCRIPTOR.match(found["result"])
            yield Call(name, arguments, paths, opened[1] if opened else "")


def _named(arguments: str, folder: Path) -> list[str]:
    parts = _PATH.findall(arguments)
    return [os.path.normpath(folder / place / name) for place, name in parts]


def _given(arguments: str) -> list[str]:
    return _DESCRIPTOR.findall(arguments.partition('"')[0])


@dataclass
class Disk:
    """Files and folders that have changed since they were last synced, call by call."""

    unsynced: set[str] = field(default_factory=set)

    def take(self, call: Call) -> None:
        """Takes up what the call does."""
        name, paths = call.name, call.paths
        if name in ("fsync", "fdatasync"):
            self.unsynced.discard(paths[0])
        elif name in ("open", "openat", "creat"):
            if name == "creat" or "O_CREAT" in call.arguments or "O_TRUNC" in call.arguments:
                self.unsynced |= {call.opened, _parent(call.opened)}
        elif name.startswith("rename"):
            self._rename(*paths)
        elif name in ("unlink", "unlinkat", "rmdir"):
            self.unsynced -= {paths[0]}
            self.unsynced |= {_parent(paths[0])}
        elif name in _OF_PATHS:
            self.unsynced.add(_parent(paths[-1]))
        else:  # a kind of writing
            self.unsynced.add(paths[-1] if name == "copy_file_range" else paths[0])

    def _rename(self, old: str, new: str) -> None:
        moved = self.below(old)
        self.unsynced -= moved | self.below(new)
        self.unsynced |= {new + path.removeprefix(old) for path in moved}
        self.unsynced |= {_parent(old), _parent(new)}

    def below(self, folder: str) -> set[str]:
        """What has changed of ``folder``, or below it; leases need not outlive their machine."""
        return {
            path
            for path in self.unsynced
            if (path == folder or path.startswith(f"{folder}/")) and "/.lease-" not in path
        }


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
