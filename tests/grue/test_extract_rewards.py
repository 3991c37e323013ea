"""Rewards of finetuning, measured of sampled outputs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.test_extract import extraction, samples_of

SUM = {
    "id": "weighted_sum",
    "args": {"rewards": [{"id": "length", "weight": 2.0}, {"id": "chrf", "weight": -1.0}]},
}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def test_a_sum_comes_first_and_has_a_column_for_each_of_its_rewards(
    workplace: Workplace, model: Path
) -> None:
    plan = write(workplace, extraction(model, reward_fn=SUM))
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    samples = samples_of(folder)
    assert list(samples.columns[6:]) == [
        "reward", "reward_parts/length", "reward_parts/chrf", "lexical/overlap",
    ]  # fmt: skip
    parts = samples["reward_parts/length"], samples["reward_parts/chrf"]
    assert parts[0].nunique() > 1
    expected = 2 * parts[0] - parts[1]
    pd.testing.assert_series_equal(samples["reward"], expected, check_names=False)
    stats = pd.read_parquet(folder.table("reward_stats"))
    assert stats["metric"].unique().tolist() == list(samples.columns[6:])


def test_metrics_may_then_be_left_out_but_not_both(workplace: Workplace, model: Path) -> None:
    alone = extraction(model, reward_fn={"id": "length"})
    del alone["evaluation.metrics"]
    assert workplace.run_plan(write(workplace, alone)).status == 0
    assert "reward" in samples_of(workplace.folders()[0])

    neither = extraction(model)
    del neither["evaluation.metrics"]
    outcome = workplace.run_plan(write(workplace, neither))
    assert outcome.status == 2
    assert "'evaluation.metrics' = []: nothing is measured; name a metric" in outcome.err


def test_a_reward_is_checked_before_anything_runs(workplace: Workplace, model: Path) -> None:
    wrong = extraction(model, reward_fn={"id": "rogue"})
    outcome = workplace.run_plan(write(workplace, wrong))
    assert outcome.status == 2 and "did you mean 'rouge'" in outcome.err
    tokens = extraction(model, reward_fn={"id": "custom:tests.grue.test_token_rewards:Vowels"})
    outcome = workplace.run_plan(write(workplace, tokens))
    assert outcome.status == 2 and "'reward_fn' = " in outcome.err
    assert "rewards tokens, and reward sampling keeps texts alone" in outcome.err
