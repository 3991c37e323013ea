"""The theory's table: when it is measured, of which inputs, and that training knows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.errors import Interrupted
from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.theory import bound as theory
from sft_vs_rft.theory.table import chosen_inputs
from sft_vs_rft.trainer import ControlledTrainer
from tests.conftest import TINY_DIGITS

SETTINGS = {"lr": 0.01, "epochs": 7, "theory_every": 2, "theory_inputs": 10}


def experiment(folder: Path, stop_after: int | None = None, **changes: Any) -> ControlledExperiment:
    """An experiment that is asked to stop once, after so many epochs."""
    folder.mkdir(exist_ok=True)
    config = ControlledConfig.model_validate({**TINY_DIGITS, **SETTINGS, **changes})
    done = []
    context = Context(
        RunFolder(folder),
        seed=1,
        progress=lambda epoch, *_: done.append(epoch),
        stop_requested=lambda: stop_after in done,
    )
    return ControlledExperiment(config, context)


def measured(made: ControlledExperiment) -> pd.DataFrame:
    return pd.read_parquet(made.folder.table("theory"))


def test_it_is_measured_at_both_ends_and_every_n_epochs(tmp_path: Path) -> None:
    made = experiment(tmp_path / "a", opt_method="expected_reinforce")
    made.run()
    table = measured(made)
    assert table.columns.tolist() == [
        "epochs_trained", "input", "changed", "reward_std", "grad_norm", "jacobian_norm", "bound"
    ]  # fmt: skip
    assert table.epochs_trained.value_counts(sort=False).to_dict() == dict.fromkeys(
        [0, 2, 4, 6, 7], 10
    )
    assert (table.grad_norm <= table.jacobian_norm * table.reward_std * (1 + 1e-5)).all()
    expected = 6 * table.jacobian_norm * table.reward_std ** (2 / 3)
    assert table.bound.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)

    per_input = pd.read_parquet(made.folder.table("per_input"))
    columns = ["epochs_trained", "input", "changed"]
    both = table.merge(per_input, on=columns, suffixes=("", "_there"))
    assert both.epochs_trained.unique().tolist() == [0, 7]
    assert len(both) == 20
    assert both.reward_std.to_numpy() == pytest.approx(both.reward_std_there.to_numpy(), rel=1e-5)


def test_the_last_epoch_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        theory, "measure", lambda *given, measure=theory.measure: calls.append(1) or measure(*given)
    )
    made = experiment(tmp_path / "a", epochs=4)
    made.run()
    assert measured(made).epochs_trained.unique().tolist() == [0, 2, 4]
    assert len(calls) == 3


def test_rewards_beyond_one_and_the_temperature_enter_the_bound(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"epochs": 1, "min_reward": -8.0}
    made = experiment(tmp_path / "a", **changes)
    made.run()
    cooler = experiment(tmp_path / "b", **changes, logits_temperature=2.0)
    cooler.run()
    one, other = (measured(m).query("epochs_trained == 0") for m in (made, cooler))
    assert one.bound.to_numpy() == pytest.approx(
        (6 * 2 * one.jacobian_norm * one.reward_std ** (2 / 3)).to_numpy(), rel=1e-12
    )
    assert other.jacobian_norm.to_numpy() == pytest.approx(one.jacobian_norm.to_numpy() / 2)


@pytest.mark.parametrize("method", ["reinforce", "expected_reinforce"])
def test_measuring_does_not_change_training(tmp_path: Path, method: str) -> None:
    states = []
    for every in (None, 1):
        made = experiment(tmp_path / str(every), theory_every=every, opt_method=method)
        made.run()
        states.append(torch.load(made.folder.checkpoints / "last.pt"))
        assert made.folder.table("theory").exists() == (every is not None)
    for name, tensor in states[0]["model"].items():
        assert torch.equal(tensor, states[1]["model"][name]), name
    assert torch.equal(states[0]["random"]["torch"], states[1]["random"]["torch"])


def test_a_stopped_run_goes_on_with_an_equal_table(tmp_path: Path) -> None:
    whole = experiment(tmp_path / "whole")
    whole.run()
    for stop_after in (3, 4, 7):
        stopped = experiment(tmp_path / f"stopped {stop_after}", stop_after)
        with pytest.raises(Interrupted):
            stopped.run()
        assert measured(stopped).epochs_trained.max() < 7
        experiment(stopped.folder.path).run()
        pd.testing.assert_frame_equal(measured(stopped), measured(whole), check_exact=True)


def test_a_killed_run_measures_anew_what_its_checkpoint_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = experiment(tmp_path / "killed")
    batches = ControlledTrainer.batches

    def until_epoch_5(trainer: ControlledTrainer) -> Any:
        if trainer.epoch == 5:
            raise MemoryError
        return batches(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(ControlledTrainer, "batches", until_epoch_5)
        with pytest.raises(MemoryError):
            killed.run()
    assert measured(killed).epochs_trained.max() == 4  # the checkpoint is that of the start
    with monkeypatch.context() as patch:
        patch.setattr(ControlledTrainer, "batches", lambda trainer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            experiment(killed.folder.path).run()
    experiment(killed.folder.path).run()
    whole = experiment(tmp_path / "whole")
    whole.run()
    pd.testing.assert_frame_equal(measured(killed), measured(whole), check_exact=True)


def test_the_restored_best_weights_are_the_last_measured(tmp_path: Path) -> None:
    made = experiment(
        tmp_path / "a", theory_every=1, early_stop=True, early_stop_min_delta=100.0,
        early_stop_restore_best_weights=True,
    )  # fmt: skip
    made.run()
    short = experiment(tmp_path / "b", theory_every=1, epochs=1)
    short.run()
    pd.testing.assert_frame_equal(measured(made), measured(short), check_exact=True)


@pytest.mark.parametrize(
    ("num_changed", "limit", "expected_changed", "expected"),
    [(4, 8, 4, 8), (10, 8, 4, 8), (10, 7, 3, 7), (19, 8, 7, 8), (20, 8, 8, 8), (0, 8, 0, 8),
     (4, 0, 4, 20), (4, -1, 4, 20), (4, 99, 4, 20), (4, 1, 0, 1)],
)  # fmt: skip
def test_changed_inputs_come_first_and_are_at_most_half(
    num_changed: int, limit: int, expected_changed: int, expected: int
) -> None:
    changed = torch.arange(20) >= 20 - num_changed
    chosen = chosen_inputs(changed, limit)
    assert len(chosen) == len(chosen.unique()) == expected
    assert changed[chosen].tolist() == [True] * expected_changed + [False] * (
        expected - expected_changed
    )


def test_chosen_inputs_are_spread() -> None:
    changed = torch.zeros(100, dtype=torch.bool)
    changed[50:] = True
    assert chosen_inputs(changed, 8).tolist() == [50, 62, 75, 87, 0, 12, 25, 37]


@pytest.mark.parametrize("value", [0, -2, "3"])
def test_theory_every_is_an_interval(value: Any) -> None:
    with pytest.raises(ValueError, match="theory_every"):
        ControlledConfig.model_validate({"theory_every": value})
    assert ControlledConfig.model_validate({"theory_every": -1}).theory_every is None
