"""What attempts at a run leave in its folder, and what they say on the console."""

from __future__ import annotations

from typing import Any

import pytest

from common.run.folder import read_json
from tests.common.plans import toy
from tests.conftest import TINY_DIGITS, TOY, Workplace


def test_provenance_tells_of_every_attempt(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(refuse=True)])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    first = read_json(folder.provenance)
    assert "later_attempts" not in first
    workplace.run_plan(plan, "--retry_failed")
    record = read_json(folder.provenance)
    (second,) = record.pop("later_attempts")
    assert record == first
    assert second["started"] > first["started"]
    assert second.keys() == first.keys() - {"seeds", "threads"}


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True}])
def test_what_a_run_warns_of_is_shown(workplace: Workplace, scheduling: dict[str, Any]) -> None:
    config = {"base_config": {**TINY_DIGITS, "num_test_samples": 9999, "epochs": 1}}
    plan = workplace.write_plan(configurations=[config], **scheduling)
    assert workplace.run_plan(plan).err.count("'num_test_samples' = 9999: there are only") == 1


def test_quiet_runs_are_heard_of_only_when_they_fail(workplace: Workplace) -> None:
    named = [toy(experiment_name="good"), toy(experiment_name="bad", fail_at=0)]
    loud = workplace.write_plan("loud", experiment=TOY, configurations=named)
    shown = workplace.run_plan(loud).err
    assert ("good: done" in shown, "bad: failed" in shown) == (True, True)
    for key, flags in (({"disable_console_log": True}, []), ({}, ["--disable_console_log"])):
        quiet = [{"base_config": config["base_config"] | key} for config in named]
        plan = workplace.write_plan("quiet", experiment=TOY, configurations=quiet)
        shown = workplace.run_plan(plan, "--fresh", *flags).err
        assert ("good: done" in shown, "bad: failed" in shown) == (False, True)


def test_a_fit_with_nothing_left_to_do_is_refused(workplace: Workplace) -> None:
    workplace.run_plan(workplace.write_plan("first", experiment=TOY, configurations=[toy()]))
    last = workplace.folders("first")[0].checkpoints / "last.pt"
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(trainer_checkpoint=str(last))])
    assert workplace.run_plan(plan).status == 1
    assert "has seen 3 epochs" in workplace.folders()[0].read_status()["reason"]


def test_the_message_on_numbers_that_are_not_finite_names_the_weights_kept(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, epochs in ((60.0, 0), (0.0, 2)):
        monkeypatch.setattr(
            "common.training.checkpoint_interval.SECONDS_BETWEEN_CHECKPOINTS", seconds
        )
        monkeypatch.setattr("common.training.checkpoint_interval.LEAST_MULTIPLE", 0.0)
        plan = workplace.write_plan(experiment=TOY, configurations=[toy(nan_at=2)])
        workplace.run_plan(plan, "--fresh")
        reason = workplace.folders()[0].read_status()["reason"]
        assert f"keeps the finite weights after {epochs} epochs" in reason
