"""What a run finds around it in its process, put back after it: runs follow one another there."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common.process.stopping import SIGNALS

_STREAMS = (1, 2)


@contextmanager
def put_back() -> Iterator[None]:
    """A block after which user code has moved nothing that others go by.

    The working directory, the environment, where modules are looked for, the console, what is
    logged and where to, and what Ctrl-C and its like do are as they were.
    """
    pid = os.getpid()
    with directory_kept(), _environment(), _module_path(), _logging(), _signals(), _console():
        try:
            yield
        finally:
            end_copy_of(pid)


@contextmanager
def directory_kept() -> Iterator[None]:
    """A block after which the working directory is what it was; cheap where it stays."""
    before = os.getcwd()  # noqa: PTH109  a path object would cost a plan of 10,000 runs half a second
    try:
        yield
    finally:
        if os.getcwd() != before:  # noqa: PTH109
            os.chdir(before)


def end_copy_of(pid: int) -> None:
    """Ends this process if it is not ``pid`` but a copy of it, made by user code with os.fork."""
    if os.getpid() != pid:
        os._exit(1)


@contextmanager
def _environment() -> Iterator[None]:
    """What is new in it stays: libraries note there what they have begun."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.update(before)


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
    """Also where a file of another has taken the number of a stream that user code has closed."""
    streams = sys.stdout, sys.stderr
    copies = {number: os.dup(number) for number in _STREAMS}
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
