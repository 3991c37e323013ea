"""What becomes of the console touches neither runs nor figures nor the exit status."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys

import pytest

from common.process import console
from tests.common.plans import toy
from tests.conftest import PROJECT, TINY_DIGITS, TOY, Workplace

LOUD = "x" * 100_000  # more than buffers hold


def test_a_reader_that_goes_away_is_not_missed() -> None:
    reader, writer = os.pipe()
    with console.lasting(writer) as stream:
        print("heard", file=stream, flush=True)
        assert os.read(reader, 100) == b"heard\n"
        os.close(reader)
        print(LOUD, file=stream, flush=True)
        os.write(writer, b"other writers are not hurt either")
    os.close(writer)


def test_a_full_disk_is_not_missed() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with console.lasting(full) as stream:
        print(LOUD, file=stream, flush=True)
    os.close(full)


def test_a_reader_that_is_slow_misses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen(["wc", "-c"], stdin=reader, stdout=subprocess.PIPE) as counting:
        os.close(reader)
        with console.lasting(writer) as stream:
            print(LOUD, file=stream)
        os.close(writer)
        assert counting.communicate()[0].split() == [b"100001"]


def test_text_that_the_encoding_lacks_is_escaped() -> None:
    reader, writer = os.pipe()
    before = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with console.lasting(writer, before) as stream:
        print("naïve", file=stream)
    assert os.read(reader, 100) == b"na\\xefve\n"
    os.close(reader)
    os.close(writer)


def in_a_shell(workplace: Workplace, arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the plan with what a shell makes of the arguments; the status is the program's."""
    program = shlex.join([sys.executable, str(PROJECT / "run_plan.py")])
    command = f"{program} --plan_config_path plan.json {arguments}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True)


@pytest.mark.parametrize(
    "console",
    ["2>&1 | head -n 1", pytest.param("--num_parallel 2 <&- >&- 2>&-", marks=pytest.mark.slow)],
    ids=["gone", "closed, workers"],
)
def test_runs_and_figures_are_made_whatever_the_console_does(
    workplace: Workplace, console: str
) -> None:
    workplace.write_plan(
        configurations=[{"base_config": TINY_DIGITS, "options": {"lr": [0.1, 0.2]}}],
        figures=["controlled_curves"],
    )
    assert in_a_shell(workplace, console).returncode == 0
    assert [folder.read_status()["status"] for folder in workplace.folders()] == ["done", "done"]
    assert (workplace.path / "outputs/exps/plan/figures/controlled_curves.png").exists()


def test_a_table_may_be_read_in_part(workplace: Workplace) -> None:
    workplace.write_plan(
        experiment=TOY, configurations=[{**toy(), "seeds": list(range(2000))}]
    )  # more rows than a pipe holds
    ended = in_a_shell(workplace, "--dry_run | head -n 1")
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)


def test_failed_runs_say_how_to_try_again(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(fail_at=1)])
    assert "1 failed: --retry_failed tries again" in workplace.run_plan(plan).out
    assert "1 failed: --retry_failed tries again" in workplace.run_plan(plan).out
    assert "1 failed: --retry_failed tries again" in workplace.run_plan(plan, "--status").out
    done = workplace.write_plan("done", experiment=TOY, configurations=[toy()])
    assert "--retry_failed" not in workplace.run_plan(done).out
