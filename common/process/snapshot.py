"""Process state that runs may change, restored after each: runs follow one another in a process."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from common.process.descriptors import OwnDescriptor
from common.process.stopping import SIGNALS


@contextmanager
def put_back() -> Iterator[None]:
    """Restore the state of the process after a block with user code.

    It restores the working directory, the environment, the module search path, the console, the
    logging configuration and the signal handlers.
    """
    pid = os.getpid()
    with directory_kept(), _environment(), _module_path(), _logging(), _signals(), _console():
        try:
            yield
        finally:
            end_copy_of(pid)


@contextmanager
def directory_kept() -> Iterator[None]:
    """Restore the working directory after the block; cheap if it has not changed."""
    before = os.getcwd()  # noqa: PTH109  a path object would cost a plan of 10,000 runs half a second
    try:
        yield
    finally:
        if os.getcwd() != before:  # noqa: PTH109
            os.chdir(before)


def end_copy_of(pid: int) -> None:
    """End this process if it is a copy of ``pid`` that user code made by ``os.fork``."""
    if os.getpid() != pid:
        os._exit(1)


@contextmanager
def _environment() -> Iterator[None]:
    """Restore the environment, but keep new variables, where libraries note what they started."""
    before = dict(os.environb)  # bytes: to decode all of them for every run takes longer
    try:
        yield
    finally:
        for name, value in before.items():
            if os.environb.get(name) != value:
                os.environb[name] = value


@contextmanager
def _module_path() -> Iterator[None]:
    before = sys.path[:]
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    try:
        yield
    finally:
        root.handlers[:] = handlers
        if (root.level, root.manager.disable) != (level, disabled):  # each empties a cache
            root.setLevel(level)
            logging.disable(disabled)


@contextmanager
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _console() -> Iterator[None]:
    streams = sys.stdin, sys.stdout, sys.stderr
    with _descriptor(0), _descriptor(1), _descriptor(2):
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams


@contextmanager
def _descriptor(number: int) -> Iterator[None]:
    """Restore what a number stands for, even if user code has closed it and opened another file."""
    copy = OwnDescriptor(os.dup(number))
    try:
        yield
    finally:
        with suppress(OSError):  # user code has closed what it does not know, too
            copy.check()
            os.dup2(copy.number, number)
            os.close(copy.number)
