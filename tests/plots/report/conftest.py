"""A plan whose report shows everything: seeds, an option, a failure, inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import TOY, Workplace


@pytest.fixture
def plan(workplace: Workplace) -> Path:
    """The folder of a plan of toy runs, one of which fails."""
    path = workplace.write_plan(
        name="plan",
        description="Two step sizes <b>& more</b>",
        experiment=TOY,
        configurations=[
            {
                "id": "fit",
                "seeds": [0, 1, 2, 3, 4],
                "base_config": {
                    "epochs": 3,
                    "experiment_name": "fit",
                    "score_metric_name": "test loss",
                },
                "options": {"lr": [0.1, 0.3]},
            },
            {"id": "broken", "base_config": {"epochs": 2, "fail_at": 1, "random_seed": 0}},
        ],
    )
    assert workplace.run_plan(path).status == 1
    folder = workplace.path / "outputs/exps/plan"
    _with_inputs(workplace.folders()[1].path)
    return folder


def _with_inputs(run: Path) -> None:
    """Adds what a run that samples rewards, and one that keeps its outputs, leave."""
    rows = [(str(i), f"prompt {i} </script>", f"output {k}") for i in range(3) for k in range(2)]
    pd.DataFrame(rows, columns=["input_id", "prompt", "output"]).to_parquet(run / "samples.parquet")
    pd.DataFrame(
        {"input_id": ["0", "1", "2"], "metric": "reward", "mean": [0.0, 0.5, 1.0],
         "std": [0.0, 0.7, 0.0]}
    ).to_parquet(run / "reward_stats.parquet")  # fmt: skip
    predictions = [{"prompt_text": "say", "generated_text": "words <i>"}]
    (run / "epoch_2_val_split_predictions.json").write_text(json.dumps(predictions))
    (run / "before_training_val_split_predictions.json").write_text(json.dumps(predictions))
