"""An experiment whose runs do what a run should not, as their key says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.experiment import Context, Experiment
from common.run_config import RunConfig


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

    def inputs(self) -> Any:
        """What `hook` says."""
        return sys.exit(0) if self.hook == "inputs" else super().inputs()

    def identity(self) -> Any:
        """What `hook` says."""
        return sys.exit(0) if self.hook == "identity" else super().identity()

    def why_alone(self) -> Any:
        """What `hook` says."""
        return sys.exit(0) if self.hook == "why_alone" else super().why_alone()


class Unprintable(Exception):
    """Its text raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


class UnprintableUserError(UserError):
    """Its text raises, too."""

    def __str__(self) -> str:
        raise ValueError("no text")


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


def _child(context: Context) -> float:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (context.folder.path / "child").write_text(str(child.pid))
    return 1.0


def _unremovable(context: Context) -> float:
    context.once_done((context.folder.path / "unfinished").unlink)
    return 1.0


def _killed(context: Context) -> float:
    child = _child(context)
    os.kill(os.getpid(), signal.SIGKILL)
    return child


ACTS: dict[str, Callable[[Context], Any]] = {
    "": lambda context: 1.0,
    "exit": _raising(SystemExit(0)),
    "interrupt": _raising(KeyboardInterrupt()),
    "generator exit": _raising(GeneratorExit()),
    "stop iteration": _raising(StopIteration()),
    "unprintable": _raising(Unprintable()),
    "unprintable user error": _raising(UnprintableUserError()),
    "surrogate": _raising(ValueError("half of a pair: \ud800")),
    "nan": lambda context: float("nan"),
    "infinity": lambda context: np.float32("inf"),
    "text": lambda context: "done",
    "array": lambda context: np.zeros(2),
    "numpy number": lambda context: np.float32(1),
    "no score": lambda context: None,
    "chdir": _gone,
    "removed": _removed,
    "thread": _thread,
    "child": _child,
    "killed": _killed,
    "unremovable": _unremovable,
}


def run(config: HostileConfig, context: Context) -> Any:
    """Does it."""
    return ACTS[config.act](context)


def preflight(runs: list[Any]) -> Any:
    """What the hook of the first run says."""
    hook = runs[0].config.hook
    if hook == "exit":
        sys.exit(0)
    if hook == "chdir":
        os.chdir("/")
    return {"none": None, "text": "all is well", "number": 3}.get(hook, [])


def mend(keys: Any) -> Any:
    """What the hook says."""
    return None if keys.get("hook") == "mend" else (keys, [])


def pid_of_child(folder: Path) -> int:
    """The process that a run with the act ``child`` has left."""
    return int((folder / "child").read_text())


EXPERIMENT = Experiment(
    HostileConfig, run="tests.hostile:run", preflight="tests.hostile:preflight", mend=mend
)
