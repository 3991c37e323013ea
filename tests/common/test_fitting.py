"""Scores, early stopping, kept checkpoints, plots and writers."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch.utils._python_dispatch import TorchDispatchMode

from common.errors import UserError
from common.run.folder import RunFolder, read_json, read_json_lines, write_text
from common.score import Score
from common.training import checkpoint
from common.training.callbacks import EarlyStopping
from common.training.epoch_means import EpochMeans, NonFiniteError, first_not_finite
from common.training.metric_plots import MetricPlots
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds


class FakeTrainer:
    def __init__(self) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.epoch = 0
        self.stop_reason: str | None = None


def stops_after(scores: list[float | None], **keys: Any) -> int | None:
    """The number of epochs after which early stopping ends the fit."""
    defaults = {"min_delta": 0.0, "patience": 0, "cooldown": 0, "restore_best": False}
    stopping = EarlyStopping(Score("x", keys.pop("largest", False)), **(defaults | keys))
    trainer: Any = FakeTrainer()
    for score in scores:
        trainer.epoch += 1
        stopping.on_epoch_end(trainer, {} if score is None else {"x": score})
        if trainer.stop_reason:
            return int(trainer.epoch)
    return None


@pytest.mark.parametrize(
    ("scores", "keys", "expected"),
    [
        ([3, 2, 1, 0], {}, None),
        ([3, 2, 2, 1], {}, 3),
        ([3, 2, 2, 1], {"patience": 1}, None),
        ([3, 2, 2, 2, 1], {"patience": 1}, 4),
        ([3, 2.95, 2.9], {"min_delta": 0.5}, 2),
        ([1, 2, 3, 3], {"largest": True}, 4),
        ([1, 1, 1, 1, 1], {"cooldown": 3}, 5),
        ([3, None, None, 2, None, 2], {}, 6),
        ([3, 3, 2, 3, 3, 3], {"every": 3}, 6),
    ],
)
def test_early_stopping(scores: list[Any], keys: dict[str, Any], expected: int | None) -> None:
    assert stops_after(scores, **keys) == expected


def digits(**changes: Any) -> dict[str, Any]:
    return {"base_config": {**TINY_DIGITS, "epochs": 12, "lr": 0.02, **changes}}


def test_early_stopping_restores_the_best_weights(workplace: Workplace) -> None:
    config = digits(
        lr=0.5, early_stop=True, early_stop_patience=2, early_stop_restore_best_weights=True,
        score_metric_name="test loss", epochs=50,
    )  # fmt: skip
    assert workplace.run_plan(workplace.write_plan(configurations=[config])).status == 0
    (folder,) = workplace.folders()
    summary, rows = read_json(folder.summary), read_json_lines(folder.metrics)
    assert len(rows) < 50
    assert "has not improved" in summary["stop_reason"]
    best = min(rows, key=lambda row: row["test loss"])
    assert summary["score"] == summary["last"]["test loss"] == best["test loss"]
    assert summary["epochs_trained"] == best["epoch"] + 1 < len(rows)
    table = pd.read_parquet(folder.table("per_input"))
    assert sorted(set(table.epochs_trained)) == [0, best["epoch"] + 1]

    again = digits(
        epochs=1, lr=1e-30, load_model_from_checkpoint=str(folder.checkpoints / "last.pt")
    )
    workplace.run_plan(workplace.write_plan("again", configurations=[again]))
    (row,) = read_json_lines(workplace.folders("again")[0].metrics)
    assert row["test loss"] == pytest.approx(summary["score"], rel=1e-5)


@pytest.mark.parametrize("by_score", [False, True])
def test_kept_checkpoints(workplace: Workplace, by_score: bool) -> None:
    config = digits(
        lr=0.3, save_checkpoints=True, num_checkpoints=2, save_every_num_val=2, validate_every=2,
        save_checkpoints_by_score=by_score, score_metric_name="test loss",
    )  # fmt: skip
    workplace.run_plan(workplace.write_plan(configurations=[config]))
    (folder,) = workplace.folders()
    kept = {path.name for path in folder.checkpoints.glob("epoch_*.pt")}
    due = {row["epoch"] + 1: row["test loss"] for row in read_json_lines(folder.metrics)
           if (row["epoch"] + 1) % 4 == 0}  # fmt: skip
    best = sorted(due, key=lambda epoch: due[epoch])[:2] if by_score else [8, 12]
    assert kept == {f"epoch_{epoch}.pt" for epoch in best}


def test_of_checkpoints_with_equal_scores_the_newer_are_kept(workplace: Workplace) -> None:
    equal = digits(
        lr=1e-30, save_checkpoints=True, num_checkpoints=2, save_checkpoints_by_score=True,
        score_metric_name="test loss",
    )  # fmt: skip
    workplace.run_plan(workplace.write_plan(configurations=[equal]))
    (folder,) = workplace.folders()
    rows = read_json_lines(folder.metrics)
    assert len({row["test loss"] for row in rows}) == 1
    kept = {path.name for path in folder.checkpoints.glob("epoch_*.pt")}
    assert kept == {f"epoch_{epoch}.pt" for epoch in (len(rows) - 1, len(rows))}


def test_validation_interval(workplace: Workplace) -> None:
    workplace.run_plan(workplace.write_plan(configurations=[digits(validate_every=5)]))
    rows = read_json_lines(workplace.folders()[0].metrics)
    assert [row["epoch"] for row in rows if "test loss" in row] == [4, 9, 11]


def test_trainer_checkpoint_goes_on_from_another_run(workplace: Workplace) -> None:
    short, long = digits(epochs=5), digits(epochs=9)
    workplace.run_plan(workplace.write_plan("short", configurations=[short]))
    last = workplace.folders("short")[0].checkpoints / "last.pt"
    going_on = digits(epochs=9, trainer_checkpoint=str(last))
    workplace.run_plan(workplace.write_plan("going_on", configurations=[going_on]))
    workplace.run_plan(workplace.write_plan("long", configurations=[long]))
    whole = without_seconds(workplace.folders("long")[0])
    assert without_seconds(workplace.folders("going_on")[0]) == whole[5:]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Figure, str, Any]]:
    """The figures saved during the test, in order, each with its title and its axes' limits."""
    found = []
    save = Figure.savefig

    def note(figure: Figure, *given: Any, **keys: Any) -> None:
        (axes,) = figure.axes
        found.append((figure, axes.get_title(), [*axes.get_xlim(), *axes.get_ylim()]))
        save(figure, *given, **keys)

    monkeypatch.setattr(Figure, "savefig", note)
    return found


def test_metric_plots(workplace: Workplace, drawn: list[Any]) -> None:
    config = digits(save_metric_plots=True, save_every_num_val=2, epochs=3, diagnostics=False)
    workplace.run_plan(workplace.write_plan(configurations=[config]))
    names = {path.name for path in workplace.folders()[0].plots.iterdir()}
    assert names == {"train_loss.png", "train_accuracy.png", "test_loss.png", "test_accuracy.png"}
    assert len(drawn) == len(names)
    assert len({figure for figure, _, _ in drawn}) == 1  # making canvases is what takes the time


def test_each_metric_plot_shows_its_own_epochs_and_values(tmp_path: Path, drawn: list[Any]) -> None:
    folder, trainer = RunFolder(tmp_path), FakeTrainer()
    rows = [{"epoch": epoch, "accuracy": 100.0 - epoch} for epoch in range(41)]
    rows += [{"epoch": epoch, "loss": 0.001 * epoch} for epoch in range(3)]
    write_text(folder.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    MetricPlots(folder, every=1).on_fit_end(cast(Any, trainer))
    assert [(title, pytest.approx(limits)) for _, title, limits in drawn] == [
        ("accuracy", [-2, 42, 58, 102]),
        ("loss", [-0.1, 2.1, -0.0001, 0.0021]),
    ]


def test_tensorboard(workplace: Workplace) -> None:
    pytest.importorskip("tensorboard", reason="needs the optional package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    workplace.run_plan(workplace.write_plan(configurations=[digits(use_tensorboard=True)]))
    (folder,) = workplace.folders()
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    written = [event.value for event in events.Scalars("train loss")]
    assert written == pytest.approx([row["train loss"] for row in read_json_lines(folder.metrics)])


def test_wandb_offline(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs the optional package wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    plain, sent = digits(), digits(use_wandb=True, wandb_project_name="p")
    workplace.run_plan(workplace.write_plan("plain", configurations=[plain]))
    workplace.run_plan(workplace.write_plan("sent", configurations=[sent]))
    (folder,) = workplace.folders("sent")
    assert list(folder.path.glob("wandb/offline-run-*/*.wandb"))
    assert without_seconds(folder) == without_seconds(workplace.folders("plain")[0])


def test_epoch_means_weigh_batches_and_skip_absent_names() -> None:
    means = EpochMeans()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)}, {"a": 3})
    means.add({"a": torch.tensor(3.0)}, {"a": 1})
    assert means.result() == {"a": 1.5, "b": 5.0}


def test_the_first_tensor_that_is_not_finite_is_named_without_waiting_for_each() -> None:
    good = {f"good{i}": torch.full((2, 3), 1e38) for i in range(5)} | {"steps": torch.tensor(3)}
    bad = {"nan": torch.tensor([1.0, float("nan")]), "inf": torch.tensor(float("-inf"))}
    with HostWaits() as waits:
        assert first_not_finite(good) is None
        assert first_not_finite(good | bad) == "nan"
        assert first_not_finite({"inf": bad["inf"], **good}) == "inf"
    assert waits.count == 0  # but for one transfer at the end


class HostWaits(TorchDispatchMode):
    """Counts where a single number is read, for which a GPU's queue would be waited for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ == "_local_scalar_dense"
        return func(*args, **(kwargs or {}))


def test_the_first_value_that_is_not_finite_is_named() -> None:
    means = EpochMeans()
    means.add({"a": torch.tensor(1.0)}, {})
    means.add({"a": torch.tensor(float("inf"))}, {})
    with pytest.raises(NonFiniteError, match="step 1: 'a' = inf"):
        means.result()


class Dangerous:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_a_pickle_with_other_objects_is_refused_and_never_executed(workplace: Workplace) -> None:
    torch.save({"model": Dangerous()}, workplace.path / "bad.pt")
    with pytest.raises(UserError, match="not plain weights: loading it could run code"):
        checkpoint.load(workplace.path / "bad.pt")
    assert not (workplace.path / "executed").exists()


def test_a_pickle_that_torch_did_not_write_is_refused_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(pickle.dumps({"model": Dangerous()}))
    with pytest.raises(UserError, match="not plain weights: loading it could run code"):
        checkpoint.load(tmp_path / "bad.pt")


@pytest.mark.parametrize("content", [b"", b"broken", b"\x80", b"}s", b"PK\x03\x04"])
def test_whatever_a_broken_checkpoint_holds_is_one_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"not (a whole checkpoint: .|plain weights)"):
        checkpoint.load(tmp_path / "bad.pt")


def test_a_checkpoint_of_other_data_warns(workplace: Workplace) -> None:
    pretrain = {"id": "a", **digits(samples_rnd_seed=1)}
    finetune = digits(samples_rnd_seed=2, load_model_from_checkpoint="@a.checkpoint")
    outcome = workplace.run_plan(workplace.write_plan(configurations=[pretrain, finetune]))
    assert "was made with 'samples_rnd_seed' = 1, this run has 2" in outcome.err
    assert outcome.err.count("was made with") == 1


def test_a_stage_checkpoint_that_will_not_fit_is_told_before_the_start(
    workplace: Workplace,
) -> None:
    pretrain = {"id": "a", **digits()}
    finetune = digits(mlp_hidden_layer_sizes=[9], load_model_from_checkpoint="@a.checkpoint")
    outcome = workplace.run_plan(workplace.write_plan(configurations=[pretrain, finetune]))
    assert outcome.status == 2
    assert "'1.weight' has shape [8, 64], the model's has [9, 64]" in outcome.err
    assert workplace.files() == []


def test_toy_experiments_can_be_custom(workplace: Workplace) -> None:
    configurations = [{"experiment": TOY, "base_config": {"epochs": 1}}, digits(epochs=1)]
    assert workplace.run_plan(workplace.write_plan(configurations=configurations)).status == 0
