"""An experiment whose runs do what a run should not, as their key says."""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import torch

from common.config.run import RunConfig
from common.errors import UserError
from common.experiment import Context, Experiment
from tests.hanging import hang_in_c


class HostileConfig(RunConfig):
    """What a run, and its hooks, do."""

    act: str = ""
    """One of `ACTS`, or nothing."""
    hook: str = ""
    """Which hook gives, or does, the wrong thing."""

    def problems(self) -> Any:
        """What `hook` says."""
        return None if self.hook == "problems" else super().problems()

    def notices(self) -> Any:
        """What `hook` says."""
        return [7] if self.hook == "notices" else super().notices()

    def identity(self) -> Any:
        """What `hook` says."""
        return None if self.hook == "identity" else super().identity()

    def inputs(self) -> Any:
        """What `hook` says."""
        return sys.exit(0) if self.hook == "inputs" else super().inputs()

    def why_alone(self) -> Any:
        """What `hook` says."""
        if self.hook == "why_alone":
            sys.exit(0)
        return None if self.hook in ("vectorize_key", "together") else super().why_alone()

    def vectorize_key(self) -> Any:
        """What `hook` says."""
        return [] if self.hook == "vectorize_key" else 0

    def problems_of_ranks(self, num_ranks: int) -> Any:
        """What `hook` says."""
        return None if self.hook == "ranks" else []

    def model_post_init(self, context: Any) -> None:
        """What `hook` says."""
        if self.hook == "validator":
            sys.exit(0)


class Unprintable(Exception):
    """Its text raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


class UnprintableExit(Exception):
    """Its text ends the program."""

    def __str__(self) -> str:
        sys.exit(0)


class UnprintableUserError(UserError):
    """Its text raises, too."""

    def __str__(self) -> str:
        raise ValueError("no text")


_SLEEPING = "import time; held = bytes(1) * 2**27; print(flush=True); time.sleep(600)"


def _raising(error: BaseException) -> Callable[[Context], Any]:
    def act(context: Context) -> Any:
        raise error

    return act


def _gone(context: Context) -> float:
    os.chdir("/")
    return 1.0


def _removed(context: Context) -> float:
    shutil.rmtree(context.folder.path)
    return 1.0


def _thread(context: Context) -> float:
    threading.Thread(target=time.sleep, args=(600,), name="forgotten").start()
    return 1.0


def _children(context: Context) -> float:
    """Leaves a process, and one in a session of its own.

    Each has some memory, so that it takes a moment to end when it is killed.
    """
    sleeping = [sys.executable, "-c", _SLEEPING]
    pids = []
    for own_session in (False, True):
        child = subprocess.Popen(
            sleeping, start_new_session=own_session, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout
        child.stdout.readline()
        pids.append(child.pid)
    (context.folder.path / "children").write_text(json.dumps(pids))
    return 1.0


def _daemon(context: Context) -> float:
    """Leaves a process of nobody's, as programs do that go into the background."""
    going = f"setsid sleep 600 & echo [$!] > '{context.folder.path / 'children'}'"
    subprocess.run(["bash", "-c", going], check=True)
    return 1.0


def _closes_all(context: Context) -> float:
    """Closes what programs close that go into the background: standard input, and all unknown."""
    os.close(0)
    os.closerange(3, 1000)
    return 1.0


def _closes_inputs(context: Context) -> float:
    """Closes whatever it could be told anything by."""
    for entry in Path("/proc/self/fd").iterdir():
        number = int(entry.name)
        with suppress(OSError):
            is_pipe = str(entry.readlink()).startswith("pipe:")
            if is_pipe and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                os.close(number)
    return 1.0


def _outlasts(context: Context) -> float:
    """Closes all that it does not know, and goes on until three other runs are done."""
    _closes_all(context)
    deadline = time.monotonic() + 300
    while sum(map(_is_done, context.folder.path.parent.glob("*/status.json"))) < 3:
        if time.monotonic() > deadline:
            raise TimeoutError("the others are not made")
        time.sleep(0.05)
    return 1.0


def _is_done(status: Path) -> bool:
    return bool(json.loads(status.read_text())["status"] == "done")


def _sleeps(context: Context) -> float:
    time.sleep(1.0)
    return 1.0


_FILES: list[IO[str]] = []


def _keeps_files_open(context: Context) -> float:
    """Opens as many files as may be open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    with suppress(OSError):
        while True:
            _FILES.append(open(os.devnull))  # noqa: PTH123, SIM115
    return 1.0


def _reads(context: Context) -> float:
    """Waits for an answer of somebody at a keyboard."""
    input()
    return 1.0


_WRITTEN = b"""\x00
7
{"failed": 1}
{"failed": "it", "traceback": "no", "rendezvous": 3}
{"progress": 3}
{"warning": {}}
{"ended": true}
no end"""


def _writes_anywhere(context: Context) -> float:
    """Writes to whatever is open, as a library does that has closed a file twice."""
    for descriptor in range(3, 1000):
        with suppress(OSError):
            os.write(descriptor, _WRITTEN)
    return 1.0


def _leaves_a_copy(context: Context) -> float:
    """Ends the process, of which a copy goes on that has all its files open."""
    if os.fork() == 0:
        time.sleep(1200)
    os._exit(3)


def _service(context: Context) -> float:
    """A library's helper process, which it ends itself when the program ends."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def end() -> None:
        (context.folder.path / "was running").write_text(str(child.poll() is None))
        child.kill()

    atexit.register(end)
    return 1.0


def _unremovable(context: Context) -> float:
    context.once_done((context.folder.path / "unfinished").unlink)
    return 1.0


def _killed(context: Context) -> float:
    _children(context)
    os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


def _forked(context: Context) -> float:
    """Returns in one process, and fails in the other."""
    if os.fork() == 0:
        raise ZeroDivisionError("in the copy")
    os.wait()
    return 1.0


def _no_number(error: BaseException) -> Any:
    class NoNumber:
        def __float__(self) -> float:
            raise error

        __repr__ = __str__ = __float__  # type: ignore[assignment]

    return NoNumber()


def _file_for_folder(context: Context) -> float:
    _removed(context)
    context.folder.path.write_text("mine")
    return 1.0


def _overwritten(context: Context) -> float:
    context.folder.status.write_text('{"status": "done", "fingerprint": "mine"}')
    raise ZeroDivisionError("after all")


def _exit_once_done(context: Context) -> float:
    context.once_done(lambda: sys.exit(0))
    return 1.0


def _all_moved(context: Context) -> float:
    """Moves all that the process's other runs go by."""
    os.environ.clear()
    sys.path.clear()
    logging.getLogger().handlers.clear()
    logging.disable()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    os.close(1)
    os.close(2)
    return 1.0


def _draws(context: Context) -> float:
    return float(torch.randn(1, requires_grad=True).exp().requires_grad) + float(torch.randn(1))


def _begun(context: Context) -> None:
    (context.folder.path / "begun").touch()


def _deaf(context: Context) -> float:
    """Waits, and hears no request to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _begun(context)
    time.sleep(600)
    return 1.0


def _swallowing(context: Context) -> float:
    """Waits, whatever is raised."""
    _begun(context)
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def _in_c(context: Context) -> float:
    _begun(context)
    hang_in_c()


def _out_of_memory(context: Context) -> float:
    resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))
    try:
        return float(len(bytearray(2**34)))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _loud(context: Context) -> float:
    """Says a hundred million characters, on both streams."""
    for stream in (sys.stdout, sys.stderr):
        for _ in range(50):
            stream.write("loud " * 200_000 + "\n")
    return 1.0


ACTS: dict[str, Callable[[Context], Any]] = {
    "": lambda context: 1.0,
    "exit": _raising(SystemExit(0)),
    "interrupt": _raising(KeyboardInterrupt()),
    "generator exit": _raising(GeneratorExit()),
    "stop iteration": _raising(StopIteration()),
    "unprintable": _raising(Unprintable()),
    "unprintable user error": _raising(UnprintableUserError()),
    "unprintable exit": _raising(UnprintableExit()),
    "verbose": _raising(ValueError(f"seen: {'0.123, ' * 10**6} in all")),
    "surrogate": _raising(ValueError("half of a pair: \ud800")),
    "nan": lambda context: float("nan"),
    "infinity": lambda context: np.float32("inf"),
    "text": lambda context: "done",
    "array": lambda context: np.zeros(2),
    "numpy number": lambda context: np.float32(1),
    "no score": lambda context: None,
    "chdir": _gone,
    "removed": _removed,
    "file": _file_for_folder,
    "overwritten": _overwritten,
    "no number": lambda context: _no_number(SystemExit(0)),
    "exit once done": _exit_once_done,
    "forked": _forked,
    "killed": _killed,
    "leaves": lambda context: os._exit(0),
    "faults": lambda context: signal.raise_signal(signal.SIGSEGV),
    "aborts": lambda context: os.abort(),
    "deaf": _deaf,
    "swallowing": _swallowing,
    "in C": _in_c,
    "out of memory": _out_of_memory,
    "loud": _loud,
    "all moved": _all_moved,
    "draws": _draws,
    "thread": _thread,
    "children": _children,
    "daemon": _daemon,
    "leaves a copy": _leaves_a_copy,
    "closes input": lambda context: os.close(0),
    "closes all": _closes_all,
    "closes inputs": _closes_inputs,
    "outlasts": _outlasts,
    "sleeps": _sleeps,
    "reads": _reads,
    "keeps files open": _keeps_files_open,
    "writes anywhere": _writes_anywhere,
    "service": _service,
    "unremovable": _unremovable,
}


def run(config: HostileConfig, context: Context) -> Any:
    """Does it."""
    return ACTS[config.act](context)


def run_together(members: list[Any]) -> None:
    """Ends the first one alone."""
    with members[0].on_its_own():
        members[0].done(1.0)


def preflight(runs: list[Any]) -> Any:
    """What the hook of the first run says."""
    hook = runs[0].config.hook
    if hook == "exit":
        sys.exit(0)
    if hook == "chdir":
        os.chdir("/")
    return {"none": None, "text": "all is well", "number": 3}.get(hook, [])


def fix_legacy_keys(keys: Any) -> Any:
    """What the hook says."""
    return None if keys.get("hook") == "fix_legacy_keys" else (keys, [])


def children_left(folder: Path) -> list[int]:
    """What a run with the act ``children``, ``daemon`` or ``killed`` has started and goes on.

    All that have ended count as gone, also if nobody has asked how.
    """
    pids = json.loads((folder / "children").read_text())
    assert pids
    return [pid for pid in pids if goes_on(pid)]


def goes_on(pid: int) -> bool:
    """Whether the process has not ended; of one that has, nobody may have asked how."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


EXPERIMENT = Experiment(
    HostileConfig,
    run="tests.hostile:run",
    preflight="tests.hostile:preflight",
    fix_legacy_keys=fix_legacy_keys,
    run_together="tests.hostile:run_together",
)
