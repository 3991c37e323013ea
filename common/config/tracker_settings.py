"""Where a run's metrics go beside its own files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackerSettings:
    """Where metrics go beside ``metrics.jsonl``, and under which names."""

    tensorboard: bool = False
    wandb: bool = False
    trackio: bool = False
    project: str | None = None
    """Project at Weights & Biases and at Trackio."""
    entity: str | None = None
    """Weights & Biases user or team."""
    run_name: str | None = None
    """Name of the run there; None for the name of its folder."""
    run_id: str | None = None
    """Weights & Biases run to append to; None for a new one."""
    watch: str | bool | None = None
    """What Weights & Biases watches of the model: gradients, parameters, all, or None."""
    uploads_files: bool = True
    """Whether Weights & Biases gets the files of the run's folder at the end."""
    exclude_files: tuple[str, ...] = ()
    """Patterns of files that it does not get."""
