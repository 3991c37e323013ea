from __future__ import annotations

import pytest

from plots import FIGURES, find
from plots.__main__ import main
from tests.plots import folders


def complaint(capsys, *arguments) -> str:
    """What is said about arguments that end with exit status 2."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")
    return printed.err


def test_it_prints_the_paths_it_writes(tmp_path, capsys, drawn):
    plan = str(folders.two_methods(tmp_path / "plan"))
    curves = ["controlled_curves", "--runs", plan, f"{plan}/supervised-7", "--log_epochs"]
    assert main([*curves, "--output", str(tmp_path), "--metrics", "reward", "grad norm"]) == 0
    name = "controlled_curves-metrics-reward-grad_norm-log_epochs.csv"
    assert capsys.readouterr().out == f"{tmp_path / name}\n"
    assert main(["reward_std_vs_gradient", "--runs", plan, "--no-log_axes"]) == 0
    assert capsys.readouterr().out.endswith("plan/figures/reward_std_vs_gradient-no_log_axes.csv\n")


def test_complaints_are_one_message_and_status_2(tmp_path, capsys):
    plan = folders.two_methods(tmp_path / "plan")
    figure = "controlled_curves"
    assert "'controled_curves': unknown figure; did you mean 'controlled_curves'?" in complaint(
        capsys, "controled_curves", "--runs", plan
    )
    assert "nowhere: no such folder" in complaint(capsys, figure, "--runs", tmp_path / "nowhere")
    assert "'--smoth': unknown option; did you mean '--smooth'?" in complaint(
        capsys, figure, "--runs", plan, "--smoth", "5"
    )
    assert "'--plna': unknown option; did you mean '--plan'?" in complaint(
        capsys, "report", "--plna", plan
    )
    assert "'smooth' = 0: must be at least 1" in complaint(
        capsys, figure, "--runs", plan, "--smooth", "0"
    )
    assert "'rewards': unknown; did you mean 'reward'?" in complaint(
        capsys, figure, "--runs", plan, "--metrics", "rewards"
    )
    assert "invalid int value: 'x'" in complaint(capsys, figure, "--runs", plan, "--smooth", "x")
    assert "required: --runs" in complaint(capsys, figure)
    assert "the name of a figure comes first" in complaint(capsys)
    assert "the name of a figure comes first" in complaint(capsys, "--runs", plan)


def test_help_lists_figures_options_and_examples(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for expected in (
        "controlled_curves       Reward, train accuracy",
        "reward_std_vs_gradient  Each input's reward std",
        "--log_axes, --no-log_axes",
        "--smooth VALUE",
        "example: python -m plots controlled_curves --runs outputs/my_plan --smooth 5",
    ):
        assert expected in text
    assert text.index("python -m plots report") < text.index("options of controlled_curves")


@pytest.mark.parametrize("name", FIGURES.names())
def test_the_example_of_a_figure_is_a_line_that_can_be_copied(capsys, name):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    *_, last = capsys.readouterr().out.splitlines()
    assert (
        last
        == f"example: python -m plots {name} --runs outputs/my_plan {find(name).options.example}"
    )


def test_help_of_a_figure_explains_its_options(capsys):
    with pytest.raises(SystemExit):
        main(["controlled_curves", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert 'Known: reward, "train accuracy"' in text
    assert "centred running mean" in text and "(default: 1)" in text


def test_help_shows_no_types_as_known_values(capsys):
    with pytest.raises(SystemExit):
        main(["pareto_front", "--help"])
    shown = capsys.readouterr().out
    assert "--largest_drift" in shown
    assert "class" not in shown
