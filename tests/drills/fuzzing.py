"""Plans that are wrong in every way are told of in one message, soon, and nothing is written."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

import run_plan
from common.files.documents import read_object
from tests.conftest import PROJECT
from tests.drills.mutations import plans

LONGEST = 5.0
"""Seconds of computing in which any plan is answered."""
_HANG = 300
"""Seconds after which one counts as hanging."""
_NAMES = (
    "quickstart/digits.json", "sft_vs_rft/mlp_mnist_finetune.json", "sft_vs_rft/digits_theory.json",
    "sft_vs_rft/linear_theory.json", "grue/imdb_nlpo_on_supervised.json", "grue/extract_imdb.json",
    "grue/imdb_supervised.json", "grue/synthetic/dates_gpt2_ppo.json", "rlvr/arithmetic.json",
    "grue/analytic_kl/imdb_grid.json",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
             "os.truncate", "os.chmod", "os.system", "os.exec", "os.posix_spawn",
             "subprocess.Popen", "shutil.rmtree", "shutil.move", "socket.connect")  # fmt: skip


@dataclass
class Watch:
    """What this process writes, makes, moves, starts or calls while it is watched."""

    seen: list[str] = field(default_factory=list)
    _on: bool = False

    def begin(self) -> None:
        """Makes Python tell of it; it does so until the process ends."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
                self.seen.append(f"open {path}")
        elif event in _CHANGING:
            self.seen.append(f"{event} {arguments}")

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[str]]:
        """A block in which it is listed what is done."""
        self.seen, self._on = [], True
        try:
            yield self.seen
        finally:
            self._on = False


@functools.cache
def _watch() -> Watch:
    watch = Watch()
    watch.begin()
    return watch


class Hang(BaseException):
    """A plan that is not answered."""


@contextlib.contextmanager
def _no_hang() -> Iterator[None]:
    def end(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(_HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(plan: Path) -> int:
    """Asks for a dry run of the plan; gives the exit status.

    Raises:
        AssertionError: it ends by an exception, or says a traceback, takes too long, or does
            something to the disk.
    """
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()
    with (
        _no_hang(), _watch().watching() as seen, warnings.catch_warnings(),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        status = run_plan.main(["--plan_config_path", str(plan), "--dry_run"])
    seconds = time.process_time() - started
    told = out.getvalue() + err.getvalue()
    assert "Traceback" not in told, told
    assert status in (0, 2), told
    assert status == 0 or err.getvalue().count("error: ") == 1, told
    assert seen == [], seen
    assert seconds < LONGEST, f"{seconds:.1f} s"
    return status


def fuzz(folder: Path, num_examples: int, *, number: int = 0, show: bool = False) -> dict[int, int]:
    """Checks as many mutated plans as asked; gives how many ended with which exit status.

    Args:
        folder: an empty folder.
        num_examples: number of plans.
        number: seed of the draws.
        show: whether a plan that fails is made smaller and shown.
    """
    sys.dont_write_bytecode = True
    shutil.copytree(PROJECT / "experiment_plans", folder / "plans")
    bases = {path: read_object(path) for path in (folder / "plans" / name for name in _NAMES)}
    for path in bases:  # loads what they import
        check(path)
    counts: dict[int, int] = {}

    @seed(number)
    @settings(
        max_examples=num_examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, *([Phase.shrink] if show else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans(bases))
    def every(found: tuple[Path, bytes]) -> None:
        path, content = found
        path.write_bytes(content)
        status = check(path)
        path.unlink()
        counts[status] = counts.get(status, 0) + 1

    every()
    return counts


def main(arguments: Sequence[str]) -> None:
    """Checks so many plans of so many seeds, in the folder named first."""
    folder, num_examples, number = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    print(fuzz(folder, num_examples, number=number, show=True))


if __name__ == "__main__":
    main(sys.argv[1:])
