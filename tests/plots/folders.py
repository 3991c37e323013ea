"""Small plan folders as the runner leaves them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

CONFIG = {
    "experiment_name": "exp",
    "outputs_dir": "outputs",
    "dataset": "mnist",
    "model_type": "mlp",
    "opt_method": "supervised",
    "reward_type": "labels",
    "optimizer": "adam",
    "lr": 1e-4,
    "random_seed": 7,
    "samples_rnd_seed": 192,
    "init_rnd_seed": 111,
    "frac_samples_to_modify_labels": 0.1,
    "trainer_checkpoint": None,
    "load_model_from_checkpoint": "pretrained.pt",
}


def epoch_row(epoch: int, changed: float | None, others: float = 0.5) -> dict[str, Any]:
    """One line of metrics.jsonl; without changed inputs, the line lacks their metrics."""
    row: dict[str, Any] = {"epoch": epoch, "train loss": 1.0, "seconds": 0.1}
    for part, value in (("small reward std", changed), ("large reward std", others)):
        for metric in ("reward", "train accuracy", "grad norm", "avg reward std"):
            if value is not None:
                row[f"{metric} {part}"] = value
    return row


def inputs(epochs: int, stds: list[float], *, start: float = 0.5) -> pd.DataFrame:
    """per_input.parquet: the first input is changed; all have std ``start`` at the beginning."""
    table = pd.DataFrame(
        {
            "epochs_trained": [0] * len(stds) + [epochs] * len(stds),
            "input": [*range(len(stds))] * 2,
            "changed": ([True] + [False] * (len(stds) - 1)) * 2,
            "reward_mean": 0.0,
            "reward_std": [start] * len(stds) + stds,
        }
    )
    return table.assign(logit_grad_norm=table["reward_std"] / 2)


def make_run(
    folder: Path,
    rows: list[dict[str, Any]] | None = None,
    *,
    status: str = "done",
    per_input: pd.DataFrame | None = None,
    **config: Any,
) -> Path:
    """A run folder; its configuration is `CONFIG` with ``config`` laid over."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "status.json").write_text(json.dumps({"status": status}))
    lines = [json.dumps(row) + "\n" for row in rows or []]
    (folder / "metrics.jsonl").write_text("".join(lines))
    if per_input is not None:
        per_input.to_parquet(folder / "per_input.parquet", index=False)
    return folder


def make_index(plan: Path, runs: list[Path], **statuses: str) -> Path:
    """Writes the plan's index.csv; runs are done where ``statuses`` says nothing else."""
    plan.mkdir(exist_ok=True)
    with (plan / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "stage", "status", "score", "folder"])
        for run in runs:
            writer.writerow(["exp", "", statuses.get(run.name, "done"), "", run.name])
    return plan


def two_methods(plan: Path, *, seeds: tuple[int, ...] = (7,)) -> Path:
    """A plan of SFT and expected RFT; SFT's reward on changed inputs is its seed / 10."""
    runs = [
        make_run(
            plan / f"{method}-{seed}",
            [epoch_row(epoch, seed / 10 if method == "supervised" else 0.0) for epoch in range(3)],
            per_input=inputs(3, [0.25, 0.125]),
            opt_method=method,
            random_seed=seed,
        )
        for method in ("supervised", "expected_reinforce")
        for seed in seeds
    ]
    return make_index(plan, runs)


def text_config(**keys: Any) -> dict[str, Any]:
    """A text run's configuration; ``keys`` are laid over its sections."""
    sections: dict[str, Any] = {
        "experiment_name": "exp",
        "random_seed": 7,
        "datapool": {"id": "commongen", "args": {"seed": 42}},
    }
    for key, value in keys.items():
        sections[key] = sections.get(key, {}) | value if isinstance(value, dict) else value
    return sections


def text_run(
    folder: Path, rows: list[dict[str, Any]] | None = None, *, status: str = "done", **keys: Any
) -> Path:
    """The folder of a run of text finetuning, or of one that samples."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(text_config(**keys)))
    (folder / "status.json").write_text(json.dumps({"status": status}))
    if rows is not None:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def reward_stats(
    means: list[float], stds: list[float], *, metric: str = "meteor", num_samples: int = 10
) -> pd.DataFrame:
    """reward_stats.parquet of one metric, whose rewards are from 0 to 1."""
    table = pd.DataFrame({"input_id": [f"train_{i}" for i in range(len(means))], "metric": metric})
    return table.assign(
        n=num_samples, mean=means, std=stds, min=0.0, max=1.0, num_distinct=2,
        zero_std=[std == 0 for std in stds],
    )  # fmt: skip


def sampled_run(folder: Path, *tables: pd.DataFrame, **keys: Any) -> Path:
    """The folder of a run that sampled; without ``tables``, of one that is still at it."""
    evaluation = {"num_samples_per_input": 10, "ddof": 1, "low_std": 0.01}
    run = text_run(folder, evaluation=evaluation | keys.pop("evaluation", {}), **keys)
    if tables:
        pd.concat(tables).to_parquet(run / "reward_stats.parquet", index=False)
    return run
