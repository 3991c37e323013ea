from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, text_run

FIGURE = "gradient_noise"

pytestmark = pytest.mark.usefixtures("drawn")


def run(folder, noise: list[float], *, grad: bool, coeff: float, seed: int = 0):
    alg = {"id": "ppo_kl", "args": {"analytic_kl_grad": grad}, "kl_div": {"coeff": coeff}}
    rows = [{"epoch": i, "step": i, "ppo/grad_variance": value} for i, value in enumerate(noise)]
    return text_run(folder, rows, alg=alg, random_seed=seed)


def test_points_are_means_over_seeds_of_medians_over_iterations(tmp_path, drawn):
    runs = [
        run(tmp_path / f"{grad}-{coeff}-{seed}", [1.0 + seed, 2.0 + seed, 90.0], grad=grad,
            coeff=coeff, seed=seed)
        for grad in (True, False) for coeff in (0.2, 0.1) for seed in (0, 1)
    ]  # fmt: skip
    pretrained = text_run(tmp_path / "pretrain", [{"epoch": 0, "step": 0, "loss": 1.0}])
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, [*runs, pretrained])])
    table = pd.read_csv(path)
    assert table[["mode", "strength"]].to_numpy().tolist() == [
        ["sampled KL", 0.1], ["sampled KL", 0.2],
        ["exact KL in the gradient", 0.1], ["exact KL in the gradient", 0.2],
    ]  # fmt: skip
    assert table["mean"].tolist() == [2.5] * 4 and table["n"].tolist() == [2] * 4
    assert table["std"].tolist() == pytest.approx([math.sqrt(0.5)] * 4)
    (axes,) = drawn[0].axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.2"]
    assert axes.get_xlabel() == "KL coefficient (reward per nat)"
    assert axes.get_yscale() == "log"


def test_bars_on_the_logarithmic_axis_do_not_reach_zero(tmp_path, drawn):
    runs = [
        run(tmp_path / str(seed), [value], grad=True, coeff=0.1, seed=seed)
        for seed, value in enumerate([1e-4, 1e-2])
    ]
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, runs)])
    (row,) = pd.read_csv(path)[["mean", "drawn", "low", "high"]].to_numpy().tolist()
    factor = 10 ** math.sqrt(2)
    assert row == pytest.approx([5.05e-3, 1e-3, 1e-3 / factor, 1e-3 * factor])
    drawn_bars = [one.lines[2][0].get_segments() for one in drawn[0].axes[0].containers]
    (bar,) = next(segments for segments in drawn_bars if segments)
    assert bar[:, 1].tolist() == pytest.approx([1e-3 / factor, 1e-3 * factor])


def test_the_former_names_of_nlpo_are_read_and_known(tmp_path):
    def nlpo(folder, prefixes: list[str], seed: int):
        rows = [{"epoch": i, "step": i, f"{prefix}/grad_variance": i + seed}
                for i, prefix in enumerate(prefixes)]  # fmt: skip
        return text_run(folder, rows, alg={"id": "nlpo", "kl_div": {"coeff": 0.1}},
                        random_seed=seed)  # fmt: skip

    continued = nlpo(tmp_path / "a", ["ppo", "ppo", "nlpo"], seed=1)
    new = nlpo(tmp_path / "b", ["nlpo"] * 3, seed=3)
    index = make_index(tmp_path, [continued, new])
    for metric in ("ppo/grad_variance", "nlpo/grad_variance"):
        (path,) = plots.draw(FIGURE, [index], metric=metric)
        assert pd.read_csv(path)[["mean", "n"]].to_numpy().tolist() == [[3.0, 2]]
    with pytest.raises(UserError, match="measured 'a2c/grad_variance'"):
        plots.draw(FIGURE, [index], metric="a2c/grad_variance")


def test_without_the_measurement_it_says_how_to_get_it(tmp_path):
    folder = text_run(tmp_path / "a", [{"epoch": 0, "step": 0, "loss": 1.0}],
                      alg={"id": "ppo", "kl_div": {"coeff": 0.1}})  # fmt: skip
    with pytest.raises(UserError, match=r"measured 'ppo/grad_variance'\n .*measure_gradient_noise"):
        plots.draw(FIGURE, [folder], tmp_path)
