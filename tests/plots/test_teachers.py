"""Figures of reward models as teachers, of language models and of tabular policies."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, text_run

pytestmark = pytest.mark.usefixtures("drawn")

REWARDS = {"slow": (0.1, 1.0, 0.2), "fast": (0.8, 0.6, 1.0), "both": (0.9, 0.9, 1.2)}
"""Variance, accuracy and increase by reward."""
SCALE = 4.0


def measured(folder, *, gains=False):
    """The folder of a run that has measured the rewards."""
    text_run(folder, experiment_name=folder.name, num_prompts=30, num_measured_samples=5,
             evaluation={"num_samples_per_input": 10})  # fmt: skip
    by_input = pd.DataFrame({"input_id": [f"train_{i}" for i in range(20)] * 2})
    by_input.to_parquet(folder / "teachers_by_input.parquet", index=False)
    rows = []
    for reward, (variance, accuracy, gain) in REWARDS.items():
        numbers = {"reward_variance": variance, "on_policy/accuracy": accuracy}
        if gains:
            numbers |= {"trained_gain": gain, "true_gain": gain * accuracy, "kl": 1.0}
        rows += [{"reward": reward, "measure": name, "value": value, "low": 0.0, "high": 1.0}
                 for name, value in numbers.items()]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "teachers.parquet", index=False)
    constants = {"ground_truth": {"shift": 0.0, "scale": SCALE}}
    (folder / "normalization.json").write_text(json.dumps(constants))
    return folder


def policy(folder, teacher, reward, seed):
    """The folder of a policy that a reward has trained, a tenth more for each seed."""
    gain = REWARDS[reward][2] + seed / 10
    rows = [
        {"epoch": 0, "step": 0, "val/reward": 0.5, "val/judge": 3.0},
        {"epoch": 1, "step": 5, "objective/kl": 1.5},
        {"epoch": 1, "step": 5, "val/reward": 0.5 + gain, "val/judge": 3.0 + gain / SCALE},
    ]
    args = {"name": reward, "constants": f"elsewhere/{teacher.name}/normalization.json"}
    return text_run(folder, rows, reward_fn={"id": "normalized", "args": args}, random_seed=seed,
                    alg={"id": "reinforce"})  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    teacher = measured(tmp_path / "teacher-1")
    policies = [
        policy(tmp_path / f"{reward}-{seed}", teacher, reward, seed)
        for reward in REWARDS for seed in (0, 2)
    ]  # fmt: skip
    other = text_run(tmp_path / "sft-1", [{"epoch": 0, "step": 0, "loss": 1.0}])
    return make_index(tmp_path, [other, teacher, *policies])


def test_dots_are_means_over_seeds_beside_the_measures(plan, drawn):
    (path,) = plots.draw("teachers", [plan])
    table = pd.read_csv(path).set_index("reward")
    assert list(table.index) == list(REWARDS) and (table["seeds"] == 2).all()
    for reward, (variance, accuracy, gain) in REWARDS.items():
        row = table.loc[reward]
        assert (row["reward_variance"], row["on_policy/accuracy"]) == (variance, accuracy)
        assert row[["trained_gain", "true_gain"]].tolist() == pytest.approx([gain + 0.1] * 2)
        assert row["trained_gain_std"] == pytest.approx(0.2 / 2**0.5)
        assert row["kl"] == 1.5
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert len(titles) == 4 and titles[0].startswith("Pearson 1.00\nSpearman 1.00")
    assert drawn[0].axes[3].get_xlabel() == "accuracy on policy"
    assert caption(drawn[0]) == (
        "3 reward models, measured on n = 20 prompts, K = 10 outputs of each; mean and standard "
        "deviation over 2 seeds; rewards in units of their std under the initial policy; "
        "[95 % intervals]"
    )


def caption(figure):
    return figure.legends[0].get_title().get_text().replace("\n", " ")


def test_curves_begin_at_nothing_and_take_the_kl_of_the_step(plan, drawn):
    (path,) = plots.draw("teacher_curves", [plan])
    table = pd.read_csv(path)
    start, end = (table[table["step"] == step] for step in (0, 5))
    assert (start[["trained_reward", "true_reward", "kl"]] == 0).all(axis=None)
    assert end["trained_reward"].tolist() == pytest.approx([0.3, 1.1, 1.3])
    assert end["true_reward"].tolist() == pytest.approx([0.3, 1.1, 1.3])
    assert (end["kl"] == 1.5).all()
    assert caption(drawn[0]) == (
        "measured on n = 20 prompts, K = 10 outputs of each; mean and standard deviation over 2 "
        "seeds"
    )


def test_measures_are_ranked_by_study(tmp_path, drawn):
    for name in ("a", "b"):
        folder = measured(tmp_path / name, gains=True)
        curve = {
            "reward": list(REWARDS) * 2,
            "step": [0] * 3 + [9] * 3,
            "kl": [0.0] * 3 + [1.0] * 3,
        }
        gains = [0.0] * 3 + [gain for *_, gain in REWARDS.values()]
        pd.DataFrame(curve | {"trained_reward": gains, "true_reward": gains}).to_parquet(
            folder / "teacher_curves.parquet", index=False
        )
    plan = make_index(tmp_path, [tmp_path / "a", tmp_path / "b"])
    measures = ["reward_variance", "on_policy/accuracy"]
    (path,) = plots.draw("teacher_ranking", [plan], measures=measures)
    table = pd.read_csv(path)
    assert table[["study", "measure"]].to_numpy().tolist() == [
        [study, measure] for study in "ab" for measure in measures
    ]
    assert table["mean"].tolist() == pytest.approx([1.0, -0.5] * 2)
    assert caption(drawn[0]).startswith(
        "3 reward models, measured on n = 30 prompts, K = 5 outputs of each; mean and standard"
    )


def test_two_reward_models_have_no_ranks(tmp_path, caplog):
    teachers = {name: measured(tmp_path / name) for name in ("few", "many")}
    policies = [
        policy(tmp_path / f"{name}-{reward}", teacher, reward, 0)
        for name, teacher in teachers.items()
        for reward in list(REWARDS)[name == "few" :]
    ]
    alone = make_index(tmp_path, [teachers["few"], *policies[:2]])
    with pytest.raises(UserError, match="no study has 3 reward models that have trained policies"):
        plots.draw("teacher_ranking", [alone], measures=["reward_variance"])
    caplog.clear()
    both = make_index(tmp_path, [*teachers.values(), *policies])
    (path,) = plots.draw("teacher_ranking", [both], measures=["reward_variance"])
    assert pd.read_csv(path)["study"].tolist() == ["many"]
    assert caplog.messages == ["few: left out, ranks need 3 reward models of a seed"]


def test_what_is_missing_is_named(plan, tmp_path):
    with pytest.raises(UserError, match="not measured; known: reward_variance, on_policy/accuracy"):
        plots.draw("teachers", [plan], measures=["beauty"])
    with pytest.raises(UserError, match="has not measured the true reward 'val/beauty'"):
        plots.draw("teacher_curves", [plan], true_metric="val/beauty")
    alone = make_index(tmp_path / "alone", [measured(tmp_path / "teacher-2")])
    with pytest.raises(UserError, match="measure_reward"):
        plots.draw("teachers", [alone, tmp_path / "teacher-2"])
