"""Pictures of metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.run.folder import RunFolder, read_json_lines, replacing
from common.run.record_schemas import EPOCH_ROW
from common.training.checkpoint_interval import Pace
from common.training.trainer import Callback

if TYPE_CHECKING:
    from common.training.trainer import Trainer

_NOT_METRICS = {"epoch", "seconds"}
_FEW_POINTS = 30  # each of which is marked


class MetricPlots(Callback):
    """Writer of one picture per metric over the epochs, at the end of the fit.

    A long fit is also drawn every ``every`` epochs, at the `Pace` of its checkpoints.
    """

    def __init__(self, folder: RunFolder, every: int) -> None:
        self.folder = folder
        self.every = every
        self._pace = Pace()

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Draw if it is due."""
        if trainer.epoch % self.every == 0 and self._pace.is_due():
            self._draw()

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Draw the whole fit."""
        self._draw()

    def _draw(self) -> None:
        with self._pace.writing():
            rows = read_json_lines(self.folder.metrics, EPOCH_ROW)
            picture = _Picture()
            for name in sorted({name for row in rows for name in row} - _NOT_METRICS):
                points = [(row["epoch"], row[name]) for row in rows if name in row]
                file_name = re.sub(r"\W+", "_", name) + ".png"
                picture.save(self.folder.plots / file_name, name, points)


class _Picture:
    """Reusable canvas, because a new one for each metric would take three times as long.

    A layout computed anew for each would too, so the margins are fixed, with room for numbers of
    eight letters.
    """

    def __init__(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        self._figure = Figure(figsize=(5, 3.2))
        self._figure.subplots_adjust(left=0.14, right=0.97, bottom=0.15, top=0.92)
        self._axes = self._figure.add_subplot(xlabel="epoch")
        self._axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        (self._line,) = self._axes.plot([], [])

    def save(self, path: Path, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Draw the curve through ``points``, pairs of an epoch and a value, into ``path``."""
        self._line.set_data(*zip(*points, strict=True))
        self._line.set_marker("." if len(points) < _FEW_POINTS else "")
        self._axes.set_title(name, fontsize="medium", parse_math=False)
        self._axes.relim()
        self._axes.autoscale_view()
        with replacing(path) as file:
            self._figure.savefig(file, format="png", dpi=120)
