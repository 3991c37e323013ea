from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

import plots
from common.errors import UserError
from tests.plots import folders


@pytest.mark.parametrize(
    ("figure", "options"),
    [("controlled_curves", {"metrics": ["grad norm"]}), ("reward_std_vs_gradient", {})],
)
def test_equal_runs_give_equal_bytes_whatever_a_user_has_set(
    tmp_path, monkeypatch, figure, options
):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # others' imports
    plan = folders.two_methods(tmp_path / "plan")
    first = plots.draw(figure, [plan], tmp_path / "first", **options)
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    second = plots.draw(figure, [plan], tmp_path / "second", **options)
    assert [path.suffix for path in first] == [".png", ".pdf", ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert b"CreationDate" not in first[1].read_bytes()
    assert matplotlib.rcParams["axes.facecolor"] == "red"
    assert "matplotlib.pyplot" not in sys.modules


def test_figures_go_to_the_first_plan_or_the_current_folder(tmp_path, monkeypatch, drawn):
    monkeypatch.chdir(tmp_path)
    plan = folders.two_methods(Path("plan"))
    (by_plan,) = plots.draw("controlled_curves", [plan])
    assert by_plan == Path("plan/figures/controlled_curves.csv")
    (by_run,) = plots.draw("controlled_curves", [plan / "supervised-7"], metrics=["grad norm"])
    assert by_run == Path("figures/controlled_curves-metrics-grad_norm.csv")
    assert by_plan.exists() and by_run.exists()


def test_figures_of_a_diagnosis_go_to_its_folder(tmp_path, monkeypatch, drawn):
    monkeypatch.chdir(tmp_path)
    stats = folders.reward_stats([0.2, 0.4], [0.0, 0.1])
    diagnosis = folders.sampled_run(Path("diagnosis"), stats)
    (diagnosis / "config.json").unlink()
    (diagnosis / "diagnosis.json").write_text("{}")
    (path,) = plots.draw("reward_mean_std", [diagnosis])
    assert path == Path("diagnosis/figures/reward_mean_std.csv")


@pytest.mark.parametrize("figure", plots.FIGURES.names())
def test_every_figure_can_be_of_some_runs_only(tmp_path, figure):
    plan = folders.two_methods(tmp_path / "plan")
    with pytest.raises(UserError, match="'only' = 'nobody': found in no run's name"):
        plots.draw(figure, [plan], tmp_path / "drawn", only="nobody")


def test_options_are_checked_like_a_plan():
    check = plots.check_options
    assert check("controlled_curves", {}) == []
    assert check("controlled_curves", {"smooth": 5, "metrics": ["reward"]}) == []
    assert check("controlled_curves", {"smoth": 5}) == [
        "'smoth' = 5: unknown key; did you mean 'smooth'?"
    ]
    assert check("controlled_curves", {"smooth": 0}) == ["'smooth' = 0: must be at least 1"]
    assert check("controlled_curves", {"smooth": "5"}) == [
        "'smooth' = '5': expected a whole number; remove the quotes"
    ]
    assert "each once" in check("controlled_curves", {"metrics": ["reward", "reward"]})[0]
    assert "at least one" in check("controlled_curves", {"metrics": []})[0]
    assert check("controled_curves", {})[0].startswith(
        "unknown figure; did you mean 'controlled_curves'?"
    )
    assert "needs a subclass" in check("custom:math:pi", {})[0]
    assert "cannot be imported" in check("custom:math:root", {})[0]


def test_a_figure_outside_the_project_can_be_drawn(tmp_path, monkeypatch):
    (tmp_path / "my_figures.py").write_text(
        "from pathlib import Path\n"
        "from plots.options import FigureOptions\n"
        "class Options(FigureOptions):\n"
        "    bins: int = 3\n"
        "def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:\n"
        "    return [stem.with_suffix(f'.{options.bins}')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "custom:my_figures:draw"
    assert plots.draw(name, [], tmp_path, bins=4)[0].name == "custom-my_figures-draw-bins-4.4"
    with pytest.raises(UserError, match="'binz' = 4: unknown key; did you mean 'bins'"):
        plots.draw(name, [], tmp_path, binz=4)


def test_output_that_cannot_be_written_is_a_message(tmp_path):
    plan = folders.two_methods(tmp_path / "plan")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken: the figure cannot be written"):
        plots.draw("reward_std_vs_gradient", [plan], tmp_path / "taken")


def test_checking_options_loads_no_drawing_library():
    code = (
        "import sys, plots\n"
        "for name in plots.FIGURES.names():\n"
        "    assert plots.check_options(name, {}) == []\n"
        "assert not {'matplotlib', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_many_inputs_stay_a_small_pdf(tmp_path):
    table = folders.inputs(3, [(i + 1) / 20_000 for i in range(20_000)])
    run = folders.make_run(tmp_path / "run", per_input=table)
    paths = plots.draw("reward_std_vs_gradient", [run], tmp_path)
    assert paths[1].stat().st_size < 100_000
