"""Keys of the trackers that a run's metrics are sent to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Strict

from common.config.base import NO_EFFECT, OptionalText, Published
from common.config.run import RunConfig
from common.config.tracker_settings import TrackerSettings
from common.errors import Problem
from common.packages import lacking

_PACKAGES = {"use_tensorboard": "tensorboard", "use_wandb": "wandb", "use_trackio": "trackio"}


class TrackingConfig(RunConfig):
    """Keys of every experiment that measures a model step by step."""

    use_tensorboard: Annotated[bool, NO_EFFECT] = False
    """If true, metrics are also written as TensorBoard event files in the run's folder."""
    use_wandb: Annotated[bool, NO_EFFECT] = False
    """If true, metrics are also sent to Weights & Biases."""
    use_trackio: Annotated[bool, NO_EFFECT] = False
    """If true, metrics are also written to Trackio, which keeps them on this machine."""
    wandb_project_name: Annotated[OptionalText, NO_EFFECT] = "default"
    """Project of Weights & Biases and of Trackio."""
    wandb_entity_name: Annotated[OptionalText, NO_EFFECT] = None
    """User or team of Weights & Biases."""
    wandb_resume_id: Annotated[OptionalText, NO_EFFECT] = None
    """Id of a run of Weights & Biases to append to."""
    wandb_track_model: Annotated[str | bool | None, NO_EFFECT] = None
    """Model values that Weights & Biases records: gradients, parameters, all, or None."""
    wandb_exclude_files: Annotated[
        tuple[str, ...], Strict(False), Published("", meaning=()), NO_EFFECT
    ] = ()
    """Patterns of files in the run's folder that are not uploaded."""

    def tracker_settings(self) -> TrackerSettings:
        """Return where the run's metrics go."""
        return TrackerSettings(
            tensorboard=self.use_tensorboard,
            wandb=self.use_wandb,
            trackio=self.use_trackio,
            project=self.wandb_project_name,
            entity=self.wandb_entity_name,
            run_id=self.wandb_resume_id,
            watch=self.wandb_track_model,
            exclude_files=self.wandb_exclude_files,
        )

    def missing(self) -> Iterator[Problem]:
        """Report the packages of the trackers that are asked for."""
        yield from super().missing()
        for key, package in _PACKAGES.items():
            if getattr(self, key):
                yield from lacking(package, key, True)
