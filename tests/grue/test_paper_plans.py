"""The paper's experiments on text: plans that resolve, and small twins that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.run.folder import read_json_lines
from tests.conftest import PROJECT, Workplace

PAPER = PROJECT / "experiment_plans/grue/paper"
SHRUNK = (
    "--set", "datapool.args.num_samples=24", "--set", "alg.training_args.num_train_epochs=1",
    "--set", "train_evaluation.n_iters=1", "--set", "train_evaluation.eval_batch_size=12",
    "--set", "alg.args.n_steps=2", "--set", "alg.args.batch_size=64",
)  # fmt: skip


@pytest.mark.parametrize("plan", sorted(PAPER.glob("*.json")), ids=lambda path: path.stem)
def test_every_plan_of_published_size_resolves(
    plan: Path, workplace: Workplace, nothing_missing: None
) -> None:
    outcome = workplace.run_plan(plan, "--dry_run")
    assert outcome.status == 0, outcome.err
    assert workplace.files() == []


@pytest.mark.slow
@pytest.mark.parametrize("plan", sorted((PAPER / "offline").glob("*.json")), ids=lambda p: p.stem)
def test_every_twin_runs_shrunk(plan: Path, workplace: Workplace) -> None:
    extraction = ("--set", "datapool.num_train_samples=8") if plan.stem == "rft_vs_sft" else ()
    outcome = workplace.run_plan(plan, *SHRUNK, *extraction)
    assert outcome.status == 0, outcome.err
    trained = workplace.path.rglob("metrics.jsonl")
    assert any("rollout_info/ep_rew" in row for file in trained for row in read_json_lines(file))
