"""Small folders of finetuned models: the runs that made them, and those that sample them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.plots.folders import reward_stats, sampled_run, text_run

PPO: dict[str, Any] = {"id": "ppo", "args": {"learning_rate": 0.001, "ent_coef": 0.0}}


def model(folder: Path) -> str:
    """The model that a run has left."""
    return str(folder / "model")


def evaluations(*rewards: float, metric: str = "val/meteor") -> list[dict[str, float]]:
    """Lines of metrics.jsonl with one evaluation each."""
    return [{"epoch": step, "step": step, metric: value} for step, value in enumerate(rewards)]


def rft(folder: Path, start: Path, rows=None, *, args: dict[str, Any] | None = None, **keys):
    """A run that finetunes the model of ``start`` by rewards."""
    alg = {
        "id": "ppo",
        "args": PPO["args"] | (args or {}),
        "policy": {"args": {"model_name": model(start)}},
    }
    return text_run(folder, rows or [], alg=alg, experiment_name="RFT", **keys)


def sft(folder: Path, start: Path, rows=None, **keys):
    """A run that finetunes the model of ``start`` by references."""
    alg = {"id": "supervised", "model_name": model(start)}
    return text_run(folder, rows or [], alg=alg, experiment_name="SFT", **keys)


def samples(folder: Path, of: Path, means: list[float], stds: list[float], **keys):
    """A run that samples the model of another one."""
    alg = {"model_type": "causal", "model_name": model(of)}
    table = reward_stats(means, stds, metric=keys.pop("metric", "meteor"))
    return sampled_run(folder, table, alg=alg, **{"experiment_name": f"of {of.name}"} | keys)
