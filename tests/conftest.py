"""What tests share: tiny plans, a way to run them, and the folder of real data if there is one."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

import run_plan
from common.run.folder import RunFolder, read_json_lines
from tests.kept_server import KeptServers
from tests.programs import PROJECT, Program, end_server
from tests.quick_sync import quick_sync

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the libraries are imported
# Tests run side by side, and so do their runs: threads that wait for a core take it from others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TOY = "custom:tests.toy:EXPERIMENT"

TINY_DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "model_type": "mlp",
    "num_train_samples": 60,
    "num_test_samples": 40,
    "mlp_hidden_layer_sizes": [8],
    "num_labels_per_sample": 3,
    "frac_samples_to_modify_labels": 0.2,
    "batch_size": 32,
    "optimizer": "adam",
    "epochs": 2,
    "random_seed": 1,
    "samples_rnd_seed": 2,
    "init_rnd_seed": 3,
}


def pytest_configure() -> None:
    """Has the project compiled once, not by each of the programs that tests start."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage among what is imported, neither now nor during tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str


class Workplace:
    """A folder with plans, in which `run_plan.py` is called."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self._started: list[Program | subprocess.Popen[str]] = []

    def write_plan(self, name: str = "plan", **document: Any) -> Path:
        path = self.path / f"{name}.json"
        # Pages take time; what tests of them ask for comes first.
        path.write_text(json.dumps({"report": False, **document}))
        return path

    def run(self, *arguments: str | Path) -> Outcome:
        """Runs the program inside this process."""
        self._capsys.readouterr()
        status = run_plan.main([str(argument) for argument in arguments])
        return Outcome(status, *self._capsys.readouterr())

    def run_plan(self, plan: Path, *arguments: str) -> Outcome:
        return self.run("--plan_config_path", plan, *arguments)

    def start(self, plan: Path, *arguments: str) -> Program:
        """Starts the program as a process of its own, which ends with the test at the latest."""
        given = ["--plan_config_path", str(plan), *arguments]
        self._started.append(Program(given, self.path, self.environment()))
        return self._started[-1]

    def start_fresh(self, plan: Path) -> subprocess.Popen[str]:
        """Starts the program as a shell does; it first loads its libraries."""
        process = subprocess.Popen(
            self.command(plan),
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def kill_started(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def command(self, plan: Path) -> list[str]:
        return [sys.executable, str(PROJECT / "run_plan.py"), "--plan_config_path", str(plan)]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(PROJECT)}

    @property
    def gate(self) -> Path:
        """A file for which runs of `tests.toy` wait that name it."""
        return self.path / "gate"

    def folders(self, plan: str = "plan") -> list[RunFolder]:
        found = sorted((self.path / "outputs/exps" / plan).glob("*/status.json"))
        return [RunFolder(path.parent) for path in found]

    def files(self) -> list[str]:
        """Everything below the folder but the plans themselves."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if path.parent != Path())


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Workplace]:
    monkeypatch.chdir(tmp_path)
    found = Workplace(tmp_path, capsys)
    yield found
    found.kill_started()


@pytest.fixture
def nothing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional packages and their data count as there, for tests of plans that are only read."""
    monkeypatch.setattr("common.packages.is_installed", lambda module: True)
    monkeypatch.setattr("grue.nltk_data.is_there", lambda path: True)


@pytest.fixture(scope="session")
def kept_servers() -> Iterator[KeptServers]:
    """The fork server of plans that tests run inside this process."""
    found = KeptServers()
    yield found
    found.end()


@pytest.fixture(autouse=True)
def _quick_workers(kept_servers: KeptServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of such plans are copies of one server."""
    monkeypatch.setattr("common.runner.scheduling.warm_start.ForkServer", kept_servers)


@pytest.fixture(autouse=True, scope="session")
def _nothing_left() -> Iterator[None]:
    """The server that starts programs ends with the tests."""
    yield
    end_server()


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk() -> Iterator[None]:
    """Syncs of this process take no time: a run makes some ten, of milliseconds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", quick_sync)
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests run side by side, so each computes with one thread."""
    import torch

    torch.set_num_threads(1)
    yield


@pytest.fixture
def plain_attention(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Estimates of memory and the CPU have one kernel of attention, that of matrices."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from common.machine import memory_trace

    monkeypatch.setattr(memory_trace, "gpu_attention", contextlib.nullcontext)
    with sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data."""
    folder = os.environ.get("DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set DATA_DIR to the folder that holds it")
    return Path(folder)


def without_seconds(folder: RunFolder) -> list[dict[str, Any]]:
    """The run's metrics but for wall-clock times."""
    return [
        {key: value for key, value in row.items() if "seconds" not in key}
        for row in read_json_lines(folder.metrics)
    ]


_OPENING = ("_lazy_init", "init", "current_device", "get_device_properties", "set_device")
"""Functions of torch.cuda that make a CUDA context, or come before one."""


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what has opened a GPU in spite of all; a test ends well with none."""
    opened: list[str] = []

    def opening(name: str) -> Any:
        def refuse(*_: Any, **__: Any) -> NoReturn:
            opened.append(name)
            raise RuntimeError(f"torch.cuda.{name} opens a GPU in the runner")

        return refuse

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda._is_compiled", lambda: True)
    monkeypatch.setattr("torch.cuda._raw_device_count_nvml", lambda: 2)
    uuids = ["GPU-aaaa-0", "GPU-bbbb-1"]
    monkeypatch.setattr("torch.cuda._raw_device_uuid_nvml", lambda: uuids)
    monkeypatch.setattr("torch._C._cuda_getDeviceCount", lambda: 2, raising=False)
    for name in _OPENING:
        monkeypatch.setattr(f"torch.cuda.{name}", opening(name))
    yield opened
    assert opened == []


def cache_as_hub(cache: Path, hub_id: str, folders: dict[str, Path]) -> dict[str, str]:
    """Lays folders into a cache of the hub, each as a revision of ``hub_id``; gives the commits."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    commits = {}
    for number, (revision, folder) in enumerate(folders.items(), start=10):
        commits[revision] = str(number) * 20
        shutil.copytree(folder, place / "snapshots" / commits[revision])
        (place / "refs" / revision).write_text(commits[revision])
    return commits
