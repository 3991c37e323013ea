from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, make_run

pytestmark = pytest.mark.usefixtures("drawn")


def bounds(epochs: list[int], stds: list[float], *, gamma: float = 2.0) -> pd.DataFrame:
    """theory.parquet: the first input is changed, stds are the same at all epochs."""
    table = pd.DataFrame(
        {
            "epochs_trained": np.repeat(epochs, len(stds)),
            "input": [*range(len(stds))] * len(epochs),
            "changed": ([True] + [False] * (len(stds) - 1)) * len(epochs),
            "reward_std": stds * len(epochs),
            "jacobian_norm": gamma,
        }
    )
    return table.assign(
        grad_norm=table["reward_std"] * gamma / 2, bound=6 * gamma * table["reward_std"] ** (2 / 3)
    )


def run(folder, table, **config):
    made = make_run(folder, **config)
    table.to_parquet(made / "theory.parquet", index=False)
    return made


def draw(path, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw("gradient_bound", [path], **options)[-1])


@pytest.fixture
def plan(tmp_path):
    runs = [
        run(tmp_path / f"plan/{method}-{seed}", bounds([0, 2, 4, 6, 8, 9], [0.01, 0.5]),
            opt_method=method, random_seed=seed)
        for method in ("supervised", "expected_reinforce")
        for seed in (1, 2)
    ]  # fmt: skip
    return make_index(tmp_path / "plan", runs)


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def test_panels_go_from_start_to_end_by_method(plan, drawn):
    table = draw(plan)
    epochs = ["before training", "after 4 epochs", "after 6 epochs", "after 9 epochs"]
    assert titles(drawn[0]) == epochs * 2
    rows = [axes.get_title(loc="left").strip() for axes in drawn[0].axes[::4]]
    assert rows == ["SFT (2 runs)", "RFT expected (2 runs)"]
    assert table.columns.tolist() == [
        "row", "panel", "method", "run", "epochs_trained", "input", "reward_std", "grad_norm",
        "jacobian_norm", "bound", "part",
    ]  # fmt: skip
    assert table.groupby(["row", "panel"], sort=False).size().tolist() == [4] * 8
    assert table.query("part == 'small reward std'")["reward_std"].unique().tolist() == [0.01]
    draw(plan, columns=2)
    assert titles(drawn[0]) == ["before training", "after 9 epochs"] * 2


def test_the_bounds_are_drawn_as_functions_of_the_std_and_named(plan, drawn):
    draw(plan)
    for axes in drawn[0].axes:
        assert axes.get_xscale() == axes.get_yscale() == "log"
        theorem, one_step = axes.lines
        x, y = theorem.get_data()
        assert y == pytest.approx(12 * x ** (2 / 3))
        x, y = one_step.get_data()
        assert y == pytest.approx(2 * x)
        assert axes.texts[0].get_text() == "norm ≤ 0.07 × bound"
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert any("6" in text and "2/3" in text for text in texts)
    assert "changed inputs" in texts
    assert "other inputs" in texts


def test_a_band_holds_the_bounds_of_all_inputs(tmp_path, drawn):
    table = pd.concat([bounds([0, 1], [0.1, 0.2]), bounds([0, 1], [0.3], gamma=8.0)])
    draw(run(tmp_path / "a", table), output=tmp_path)
    axes = drawn[0].axes[0]
    band = axes.collections[-1].get_paths()[0].vertices
    ratios = band[:, 1] / band[:, 0] ** (2 / 3)
    assert (ratios.min(), ratios.max()) == pytest.approx((12, 48))


def test_runs_that_ended_early_stand_in_later_panels_too(tmp_path, drawn):
    runs = [
        run(tmp_path / "plan/a", bounds([0, 2, 4], [0.1, 0.2])),
        run(tmp_path / "plan/b", bounds([0, 2, 3], [0.1, 0.2]), random_seed=8),
    ]
    table = draw(make_index(tmp_path / "plan", runs), columns=2)
    assert titles(drawn[0]) == ["before training", "after 3 to 4 epochs"]
    assert len(table) == 8


def test_fewer_measurements_than_panels(tmp_path, drawn):
    draw(run(tmp_path / "a", bounds([0, 1], [0.1, 0.2])), output=tmp_path)
    assert titles(drawn[0]) == [
        "before training", "after 1 epochs", "not measured", "not measured"
    ]  # fmt: skip


@pytest.mark.parametrize("stds", [[0.0, 0.0], [0.0, 1e-14, 0.5]])
def test_numbers_too_small_for_the_axes_are_counted(tmp_path, drawn, stds):
    draw(run(tmp_path / "a", bounds([0, 1], stds)), output=tmp_path)
    drawn[0].draw_without_rendering()
    text = drawn[0].axes[0].texts[0].get_text()
    assert f"2 of {len(stds)} at the lower end" in text


def test_many_inputs_stay_a_small_pdf(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real files
    table = bounds([0, 1], np.geomspace(1e-6, 1, 20_000).tolist())
    table["grad_norm"] *= np.random.default_rng(0).uniform(1e-3, 1, len(table))
    paths = plots.draw("gradient_bound", [run(tmp_path / "a", table)], tmp_path, columns=2)
    assert [path.suffix for path in paths] == [".png", ".pdf", ".csv"]
    assert paths[1].stat().st_size < 100_000


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"theory\.parquet") as raised:
        draw(make_run(tmp_path / "a"))
    assert "fix: set 'theory_every'" in str(raised.value)
    assert plots.check_options("gradient_bound", {"columns": 1}) == [
        "'columns' = 1: must be at least 2"
    ]
