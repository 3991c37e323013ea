"""Settings of the trackers that a run's metrics are sent to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackerSettings:
    """Trackers that metrics are sent to beside ``metrics.jsonl``, and the names used there."""

    tensorboard: bool = False
    wandb: bool = False
    trackio: bool = False
    project: str | None = None
    """Project of Weights & Biases and of Trackio."""
    entity: str | None = None
    """User or team of Weights & Biases."""
    run_name: str | None = None
    """Name of the run there; None for the name of its folder."""
    run_id: str | None = None
    """Id of a run of Weights & Biases to append to; None for a new one."""
    watch: str | bool | None = None
    """Model values that Weights & Biases records: gradients, parameters, all, or None."""
    uploads_files: bool = True
    """If true, Weights & Biases gets the files of the run's folder at the end."""
    exclude_files: tuple[str, ...] = ()
    """Patterns of files that it does not get."""
