from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, text_run

FIGURE = "silent_groups"

pytestmark = pytest.mark.usefixtures("drawn")


def groups(samples: int, **levels: tuple[int, float, float]) -> dict[str, Any]:
    """What a rollout tells: of each level the number of groups, and the mixed and right ones."""
    row: dict[str, Any] = {"elapsed/samples": samples, "groups/mixed": 0.5}
    for level, (count, mixed, all_best) in levels.items():
        ending = f"_at_difficulty_{level.removeprefix('of_')}"
        row |= {
            f"groups/count{ending}": count,
            f"groups/mixed{ending}": mixed,
            f"groups/all_best{ending}": all_best,
        }
    return row


def evaluation(accuracy: float, **pass_at: float) -> dict[str, float]:
    found = {"val/answer/accuracy_at_difficulty_3": accuracy}
    for k, share in pass_at.items():
        found[f"val/answer/accuracy/pass_at_k/{k.removeprefix('k')}_at_difficulty_3"] = share
    return found


def run(folder: Path, rows: list[dict[str, Any]], **keys: Any) -> Path:
    lines = [{"epoch": step, "step": step, **row} for step, row in enumerate(rows)]
    return text_run(folder, lines, **{"alg": {"id": "grpo"}, **keys})


def of_quantity(table: pd.DataFrame, quantity: str, column: str = "mean") -> list[float]:
    """The numbers of a quantity at level 3."""
    here = table[(table["quantity"] == quantity) & (table["level"].astype(str) == "3")]
    return here[column].tolist()


def test_shares_are_those_of_all_groups_between_two_points(tmp_path, drawn):
    rows = [
        evaluation(0.0, k1=0.0, k2=0.0),
        groups(20, of_3=(4, 0.25, 0.0), of_10=(1, 1.0, 0.0)),
        groups(80, of_3=(2, 0.5, 0.5), of_10=(1, 1.0, 0.0)),  # of which an edge cuts a third off
        groups(80 + 20, of_3=(4, 1.0, 0.0), of_10=(1, 1.0, 0.0)) | evaluation(0.5, k1=0.5, k2=0.75),
    ]
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, [run(tmp_path / "a", rows)])], points=5)
    table = pd.read_csv(path)
    assert table["level"].unique().tolist() == [3, 10]
    assert of_quantity(table, "mixed") == pytest.approx([0.25, 0.5, 0.5, 0.5, 1.0])
    assert of_quantity(table, "all right") == pytest.approx([0, 0.5, 0.5, 0.5, 0], abs=1e-12)
    assert of_quantity(table, "all wrong") == pytest.approx([0.75, 0, 0, 0, 0], abs=1e-12)
    assert of_quantity(table, "mixed", "samples") == [10, 30, 50, 70, 90]
    assert of_quantity(table, "accuracy") == pytest.approx([0, 0.5])
    assert of_quantity(table, "pass@2") == pytest.approx([0, 0.75])
    assert of_quantity(table, "pass@2", "samples") == [0, 100]
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["difficulty 3", "difficulty 10", *[""] * 8]
    assert drawn[0].axes[-1].get_xlabel() == "samples drawn"


def test_an_edge_within_a_rollout_divides_its_groups(tmp_path):
    rows = [groups(40, of_3=(3, 0.0, 0.0)), groups(100, of_3=(6, 1.0, 0.0))]
    plan = make_index(tmp_path, [run(tmp_path / "a", rows)])
    (path,) = plots.draw(FIGURE, [plan], points=2)
    # Up to 50 samples there are the first rollout's 3 groups and a sixth of the second's 6.
    assert of_quantity(pd.read_csv(path), "mixed") == pytest.approx([1 / 4, 1])


def test_a_line_is_the_mean_over_the_evaluations_of_its_seeds(tmp_path):
    runs = [
        run(tmp_path / str(seed), [evaluation(0), groups(end, of_3=(1, 0, 0)) | evaluation(right)],
            random_seed=seed)
        for seed, (end, right) in enumerate([(100, 0.2), (200, 0.4)])
    ]  # fmt: skip
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, runs)], points=1)
    table = pd.read_csv(path)
    assert of_quantity(table, "accuracy", "samples") == [0, 150]
    assert of_quantity(table, "accuracy") == pytest.approx([0, 0.3])
    assert of_quantity(table, "accuracy", "std") == pytest.approx([0, math.sqrt(2) * 0.1])
    assert of_quantity(table, "accuracy", "n") == [2, 2]


def test_a_run_that_has_drawn_no_group_of_a_level_tells_no_share_of_it(tmp_path):
    of_easy = {"of_1": (2, 1.0, 0.0)}
    runs = [
        run(tmp_path / "0", [groups(100, **of_easy, of_3=(2, 0.5, 0.5))], random_seed=0),
        run(tmp_path / "1", [groups(100, **of_easy)], random_seed=1),
    ]
    for listed in (runs, runs[::-1]):
        (path,) = plots.draw(FIGURE, [make_index(tmp_path, listed)], points=1)
        table = pd.read_csv(path)
        assert of_quantity(table, "mixed") == of_quantity(table, "all right") == [0.5]
        assert of_quantity(table, "mixed", "n") == [1]
        assert table[table["level"] == 1]["n"].tolist() == [2] * 3


def stage(folder: Path, labels: int, begins_with: str = "new", **config) -> Path:
    """A supervised run's folder."""
    rows = [{"epoch": 1, "step": 1, "loss": 1.0, "elapsed/labels": labels}]
    return text_run(folder, rows, alg={"id": "supervised", "model_name": begins_with}, **config)


@pytest.mark.parametrize("was_at", ["{plan}", "/moved/from"])
def test_lines_tell_the_labels_of_stages_that_others_lack(tmp_path, was_at):
    place = was_at.format(plan=tmp_path)
    stages = [
        stage(tmp_path / "pretrain", 1000),
        stage(tmp_path / "sft", 40, f"{place}/pretrain/model"),
    ]
    rows = [groups(10, of_3=(1, 0.0, 0.0))]
    runs = [
        run(tmp_path / name, rows, experiment_name=name,
            alg={"id": "grpo", "policy": {"args": {"model_name": f"{place}/{before}/model"}}})
        for name, before in (("grpo", "pretrain"), ("after_sft", "sft"))
    ]  # fmt: skip
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, [*stages, *runs])])
    labels = pd.read_csv(path).groupby("line")["labels"].unique().map(list).to_dict()
    assert labels == {"grpo": [0], "after_sft, 40 labels": [40]}


def test_stages_of_other_seeds_are_shared_too(tmp_path):
    made = []
    for seed in (0, 1):
        first = stage(tmp_path / f"pretrain-0000000{seed}", 1000, random_seed=seed)
        then = stage(tmp_path / f"sft-0000000{seed}", 40, f"{first}/model", random_seed=seed)
        made += [
            run(tmp_path / f"{name}-0000000{seed}", [groups(10, of_3=(1, 0.0, 0.0))],
                experiment_name=name, random_seed=seed,
                alg={"id": "grpo", "policy": {"args": {"model_name": f"{before}/model"}}})
            for name, before in (("grpo", first), ("after_sft", then))
        ]  # fmt: skip
    (path,) = plots.draw(FIGURE, [make_index(tmp_path, made)])
    table = pd.read_csv(path)
    assert table.groupby("line")["labels"].first().to_dict() == {
        "grpo": 0,
        "after_sft, 40 labels": 40,
    }


def test_without_levels_it_says_which_key_tells_them(tmp_path):
    folder = run(tmp_path / "a", [groups(10)])
    with pytest.raises(UserError, match=r"by 'difficulty'\n.*'train_evaluation.group_by'"):
        plots.draw(FIGURE, [folder], tmp_path)
    other = run(tmp_path / "b", [{"loss": 1.0}])
    with pytest.raises(UserError, match=r"shares of groups and 'elapsed/samples'(.|\n)*group_by"):
        plots.draw(FIGURE, [other], tmp_path)


def test_pass_at_k_of_any_k_that_was_measured(tmp_path):
    rows = [evaluation(0.1, k2=0.2, k4=0.3), groups(10, of_3=(1, 0.0, 0.0))]
    plan = make_index(tmp_path, [run(tmp_path / "a", rows)])
    for options, name in ({}, "pass@4"), ({"k": 2}, "pass@2"):
        (path,) = plots.draw(FIGURE, [plan], **options)
        assert name in pd.read_csv(path)["quantity"].to_list()
    with pytest.raises(UserError, match=r"'k' = 8.*measured: 2, 4"):
        plots.draw(FIGURE, [plan], k=8)


def test_rewards_without_a_known_largest_value_have_mixed_groups_alone(tmp_path):
    row = groups(10, of_3=(1, 0.5, 0.0))
    del row["groups/all_best_at_difficulty_3"]
    (path,) = plots.draw(FIGURE, [run(tmp_path / "a", [row])], tmp_path, points=1)
    assert pd.read_csv(path)["quantity"].tolist() == ["mixed"]
