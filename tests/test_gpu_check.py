"""The check of a GPU itself: whatever its parts do, it goes on and tells of it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.run.folder import RunFolder, write_json
from tests.conftest import PROJECT
from tests.gpu import __main__ as check
from tests.gpu import holders, running
from tests.gpu.commands import Command, runs_of
from tests.gpu.controlled import deviation
from tests.gpu.findings import Check, Findings
from tests.gpu.holders import Watch
from tests.gpu.machine import gpus
from tests.gpu.parts import PARTS, PLANS, Part
from tests.gpu.report import message, summary, told
from tests.gpu.running import Result

_NO_GPU = "error: nvidia-smi finds no GPU here; --device cpu makes every part in small\n"
_HEAD = """\
import os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from tests.gpu.findings import Findings
pytestmark = pytest.mark.gpu

@pytest.fixture
def notes():
    return Findings(Path(os.environ["GPU_CHECK_FINDINGS"]))

"""
"""What parts begin with; ``notes`` is ``findings`` without torch, which takes seconds to load."""

Make = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes parts, given by name as the body of a module, on the CPU.

    Gives the exit status, and the report's parts by name.
    """
    (tmp_path / "conftest.py").write_text("from tests.gpu.conftest import *\n")

    def make(*arguments: str, **bodies: str) -> tuple[int, dict[str, Any]]:
        for name, body in bodies.items():
            text = _HEAD + textwrap.dedent(body)
            (tmp_path / f"test_{name}.py").write_text(text)
        parts = [Part(name, 60, folder=str(tmp_path)) for name in bodies]
        monkeypatch.setattr(check, "PARTS", parts)
        out = str(tmp_path / "out")
        status = check.main(["--device", "cpu", "--out", out, *arguments])
        return status, _report(tmp_path)

    return make


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file at whose making three minutes pass; until then no time does, however slow all is."""
    mark = tmp_path / "reached"
    clock = SimpleNamespace(monotonic=lambda: 180.0 * mark.exists(), sleep=time.sleep)
    for module in (check, running):
        monkeypatch.setattr(module, "time", clock)
    return mark


def _report(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "out/report.json").read_text())
    return {part["name"]: part for part in document["parts"]}


def _top(folder: Path) -> str:
    """The page as far as its table of parts."""
    return (folder / "out/report.md").read_text().partition("## Parts")[0]


def test_a_wrong_constant_is_told_with_what_was_expected_and_found(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, parts = make(
        wrong="""\
            def test_it(findings):
                findings.close("log 2", 0.69, 0.6931, 1e-4)
                findings.equal("one", 1, 1)
            """,
        right="""\
            def test_it(notes):
                notes.equal("one", 1, 1)
            """,
    )
    assert status == 1
    assert {name: part["status"] for name, part in parts.items()} == {
        "wrong": "failed",
        "right": "passed",
    }
    assert parts["wrong"]["findings"][0] == {
        "kind": "check", "name": "log 2", "expected": "0.6931", "found": "0.69",
        "tolerance": "± 0.0001", "passed": False,
    }  # fmt: skip
    assert "| wrong | log 2 | 0.6931 | 0.69 | ± 0.0001 |" in _top(tmp_path)
    assert "**1 of 2 parts passed; failed: wrong**" in _top(tmp_path)
    out = capsys.readouterr().out
    assert "log 2: expected 0.6931 ± 0.0001, found 0.69" in out
    assert "1 of 2 parts passed; failed: wrong" in out


def test_parts_that_end_badly_are_told_apart_and_leave_what_they_had_found(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = """\
        def test_before(notes):
            notes.number("found before", 1.0, "s")
        """
    status, parts = make(
        crashes=before
        + """
        def test_it():
            os.kill(os.getpid(), signal.SIGSEGV)
        """,
        leaves=before
        + """
        def test_it():
            os._exit(3)
        """,
        raises="""\
        def test_it():
            raise ZeroDivisionError("no | such | thing")
        """,
        cannot_be_read="1 / 0",
        finds_nothing="def test_it(): pass",
    )
    assert status == 1
    assert {name: part["status"] for name, part in parts.items()} == {
        "crashes": "ended by SIGSEGV",
        "leaves": "failed with exit status 3",
        "raises": "failed",
        "cannot_be_read": "failed with exit status 2",
        "finds_nothing": "failed: it found nothing",
    }
    for name in ("crashes", "leaves"):
        assert parts[name]["findings"][0]["name"] == "found before"
    assert "test_it" in parts["crashes"]["last_words"]["what it printed last"]
    assert "ZeroDivisionError" in parts["cannot_be_read"]["last_words"]["what it printed last"]
    out = capsys.readouterr().out
    assert "  what it printed last: Fatal Python error: Segmentation fault" in out
    assert "  what it printed last: ZeroDivisionError: division by zero" in out
    top = _top(tmp_path)
    assert "| crashes | its process | passed | ended by SIGSEGV |  |" in top
    assert "| raises | test_it | no error | ZeroDivisionError: no \\| such \\| thing |  |" in top


def test_a_part_that_hangs_is_ended_with_all_it_has_started(
    make: Make, tmp_path: Path, reached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_SIDE_BY_SIDE", 1)
    worker = tmp_path / "worker"
    status, parts = make(
        hangs=f"""\
        def test_it(notes):
            notes.equal("one", 1, 1)
            process = subprocess.Popen(["sleep", "600"], start_new_session=True)
            Path({str(worker)!r}).write_text(str(process.pid))
            for_ever()

        def for_ever():
            Path({str(reached)!r}).touch()
            time.sleep(600)
        """,
        right="def test_it(notes): notes.equal('one', 1, 1)",
    )
    assert status == 1
    assert parts["hangs"]["status"] == "ended at its limit of 120 s"
    assert parts["hangs"]["findings"][0]["name"] == "one"
    assert "in for_ever" in parts["hangs"]["last_words"]["where it was"]
    assert parts["right"]["status"] == "passed"
    assert not _runs(int(worker.read_text()))


def _runs(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be noticed as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_left_out_is_told_with_its_reason(make: Make, tmp_path: Path) -> None:
    status, parts = make(
        left="""\
        def test_it():
            pytest.skip("no such thing here")
        """,
        partly="""\
        def test_it(notes):
            notes.equal("one", 1, 1)
            notes.left_out("two", "there is but one")
        """,
    )
    assert status == 0
    assert [parts[name]["status"] for name in ("left", "partly")] == ["left out", "passed"]
    page = (tmp_path / "out/report.md").read_text()
    assert "| left | test_it | no such thing here |" in page
    assert "| partly | two | there is but one |" in page


@pytest.mark.slow
def test_the_report_is_written_after_every_part(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_SIDE_BY_SIDE", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    report = tmp_path / "out/report.json"
    page = report.with_suffix(".md")
    status, parts = make(
        short="def test_it(notes): notes.equal('one', 1, 1)",
        long=f"""\
        import json
        def test_it(notes):
            while "1 of 3 parts passed" not in Path({str(page)!r}).read_text():
                time.sleep(0.02)
            for part in json.loads(Path({str(report)!r}).read_text())["parts"]:
                notes.equal(part["name"], part["status"], part["status"])
            notes.equal("page", "running: long" in Path({str(page)!r}).read_text(), True)
        """,
        later="def test_it(notes): notes.equal('one', 1, 1)",
    )
    assert status == 0, parts
    seen = {f["name"]: f["found"] for f in parts["long"]["findings"]}
    assert (seen["short"], seen["long"]) == ("passed", "running")
    assert seen["later"] in ("waiting", "running")


def test_what_the_minutes_do_not_suffice_for_is_not_run(make: Make, tmp_path: Path) -> None:
    status, parts = make(
        "--minutes", "1e-9", right="def test_it(notes): notes.equal('one', 1, 1)"
    )  # fmt: skip
    assert status == 1  # nobody shall take it for a check that passed
    assert parts["right"]["status"] == "not run"
    assert "**0 of 1 parts passed; not run: right**" in _top(tmp_path)


def test_what_is_not_done_within_the_minutes_is_ended(make: Make, reached: Path) -> None:
    status, parts = make(
        "--minutes", "0.5",
        slow=f"""\
        def test_it(notes):
            Path({str(reached)!r}).touch()
            time.sleep(600)
        """,
    )  # fmt: skip
    assert status == 1
    assert parts["slow"]["status"] == "ended at its limit of 30 s"


def test_only_makes_what_it_names(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    right = "def test_it(notes): notes.equal('one', 1, 1)"
    status, parts = make("--only", "b", "--only", "b", a=right, b=right)
    assert status == 0
    assert list(parts) == ["b"]
    with pytest.raises(SystemExit, match="2"):
        make("--only", "c", a=right, b=right)
    assert "--only c: no such part; known: a, b" in capsys.readouterr().err


@pytest.mark.skipif(bool(gpus()), reason="there is a GPU")
def test_without_a_gpu_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == _NO_GPU
    assert not (tmp_path / "out").exists()


def test_a_check_that_is_stopped_ends_its_parts_and_tells_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--out", str(out),
         "--only", "golden"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    report = out / "report.json"
    while not report.exists() or '"running"' not in report.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate()
    assert process.returncode == 143
    assert "golden                   stopped with the whole check" in printed
    assert _report(tmp_path)["golden"]["status"] == "stopped with the whole check"


def test_every_part_has_its_module_and_every_module_is_a_part() -> None:
    listed = [*PARTS, *PLANS]
    modules = {path.name for path in (PROJECT / "tests/gpu").glob("test_*.py")}
    assert {Path(part.file).name for part in listed} == modules
    assert len({part.name for part in listed}) == len(listed)
    for part in listed:
        assert "pytestmark = pytest.mark.gpu" in (PROJECT / part.file).read_text(), part.file


@pytest.mark.slow
def test_golden_trajectories_hold_on_the_cpu(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert check.main(["--device", "cpu", "--out", out, "--only", "golden"]) == 0
    (golden,) = _report(tmp_path).values()
    assert len(golden["findings"]) > 10
    assert all(finding["passed"] for finding in golden["findings"])


def test_holders_of_a_gpu_are_those_with_its_file_open(tmp_path: Path) -> None:
    device = tmp_path / "device"
    with device.open("w"):
        assert holders.has_cuda(os.getpid(), str(device))
    assert not holders.has_cuda(os.getpid(), str(device))
    assert not holders.has_cuda(2**30, str(device))


@pytest.fixture
def fake_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What nvidia-smi prints."""
    printed, program = tmp_path / "printed", tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat {printed}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return printed


def test_processes_are_listed_with_their_memory(fake_smi: Path) -> None:
    fake_smi.write_text("12, 640\n345, [N/A]\nNo running processes found\n")
    found = holders.listed()
    assert (list(found), found[12]) == ([12, 345], 640.0)
    fake_smi.write_text("")
    assert holders.listed() == {}


def test_a_process_that_holds_a_gpu_without_a_run_is_seen(
    tmp_path: Path, fake_smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "outputs/all/plan/one-12345678")
    run.path.mkdir(parents=True)
    child = subprocess.Popen(["sleep", "600"])
    command = SimpleNamespace(process=SimpleNamespace(pid=os.getpid(), poll=lambda: None),
                              runs=lambda: runs_of(tmp_path))  # fmt: skip
    watch = Watch(cast(Command, command))
    monkeypatch.setattr(holders, "has_cuda", lambda pid: pid == child.pid and _runs(pid))
    try:
        for status, seconds in (("running", 5.0), ("done", 7.0), ("done", 9.0)):
            write_json(run.status, {"status": status, "pid": child.pid})
            fake_smi.write_text(f"{child.pid}, 500\n{2**30}, 900\n")
            monkeypatch.setattr(holders.time, "monotonic", lambda seconds=seconds: seconds)
            assert watch.look()
            assert watch.longest_idle == (2.0 if seconds == 9.0 else 0.0)
        assert watch.left_over() == {child.pid}
    finally:
        child.kill()
        child.wait()
    assert watch.left_over() == set()
    assert (watch.peak, watch.runner_is_listed, watch.runner_has_cuda) == (500.0, False, False)


def test_a_check_holds_within_its_tolerance_alone(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "found.jsonl")
    assert findings.close("a", 1.0, 1.01, 0.011)
    assert not findings.close("b", 1.0, 1.01, 0.009)
    assert not findings.close("c", float("nan"), 1.0, 1.0)
    assert findings.at_most("d", 1.0, 1.0)
    assert not findings.at_most("e", float("nan"), 1.0)
    assert not findings.at_least("f", 0.9, 1.0)
    assert not findings.equal("g", [1], [2])
    assert [finding.name for finding in findings.failed] == ["b", "c", "e", "f", "g"]
    assert isinstance(findings.failed[0], Check)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_never_passes(tmp_path: Path, wrong: float) -> None:
    found = Findings(tmp_path / "findings.jsonl")
    exact = [{"epoch": 0, "train loss": 1.0, "reward": 2.0}, {"epoch": 1, "train loss": 0.5,
                                                              "reward": 2.0}]  # fmt: skip
    rows = [exact[0], {**exact[1], "train loss": wrong}]
    apart = deviation(rows, exact)
    assert found.at_most("fine", apart[0], 1e-6)
    assert not found.at_most("not a number in its middle", apart[1], 1.0)
    assert not found.at_most("beside the CPU's, which fails alike", apart[1], 10 * apart[1])
    assert not found.at_least("loss scale", wrong, 1.0)


def test_a_message_is_told_without_its_place() -> None:
    text = (
        "    def f():\n>       1 / 0\nE       ZeroDivisionError: division by zero\n\nx.py:3: Error"
    )
    assert message(text) == "ZeroDivisionError: division by zero"
    assert message("first\nlast") == "last"


def test_what_is_long_is_told_in_short() -> None:
    check = Check("names", "[]", "a" * 1000, "exact", passed=False)
    assert told(check) == f"names: expected [] exact, found {'a' * 200} ..."


def test_a_summary_names_what_did_not_pass() -> None:
    results = [Result("a", "passed"), Result("b", "ended by SIGKILL"), Result("c", "not run"),
               Result("d", "left out"), Result("e", "running"), Result("f")]  # fmt: skip
    assert summary(results) == (
        "1 of 6 parts passed; failed: b; left out: d; not run: c; running: e; waiting: f"
    )
