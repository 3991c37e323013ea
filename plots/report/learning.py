"""Charts of learning curves: which configurations they show, and what their colours mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plots.report import charts, curves
from plots.report.configurations import (
    COLOURS,
    CONFIGURATION,
    Key,
    by_configuration,
    chosen,
    colourings,
    palette,
)
from plots.report.runs import ReportRun


@dataclass(frozen=True)
class Learning:
    """Learning curves of some stages."""

    runs: Sequence[ReportRun]
    """Runs whose curves are shown."""
    num_configurations: int
    num_shown: int
    names: Mapping[Key, str]
    """Label of each configuration."""
    colourings: Mapping[str, Mapping[str, str]]
    """Values of the lines by which they may be coloured, see `configurations.colourings`."""

    @classmethod
    def of(cls, runs: Sequence[ReportRun], names: Mapping[Key, str]) -> Learning:
        """Choose the configurations that are shown."""
        measured = [run for run in runs if run.is_measured]
        shown = chosen(measured)
        num_all, num_shown = (len(by_configuration(some)) for some in (measured, shown))
        return cls(shown, num_all, num_shown, names, colourings(shown, names))

    @property
    def colouring(self) -> str:
        """Name of the colouring at first: by configuration, or with many by a varying option."""
        if self.num_shown <= len(COLOURS):
            return CONFIGURATION
        counts = {name: len(set(values.values())) for name, values in self.colourings.items()}
        return next((name for name in counts if counts[name] <= len(COLOURS)), CONFIGURATION)

    @property
    def legend(self) -> dict[str, str]:
        """Colour of each value of the colouring at first."""
        return palette(list(self.colourings[self.colouring].values()))

    @property
    def colours(self) -> dict[str, str]:
        """Colour of each line at first."""
        return {name: self.legend[value] for name, value in self.colourings[self.colouring].items()}

    def charts(self, prefix: str) -> dict[str, charts.Spec]:
        """Return the charts, called ``<prefix>-<number>``."""
        points = curves.curves(self.runs, curves.shown_metrics(self.runs), self.names)
        return {
            f"{prefix}-{number}": charts.curve(metric, rows, self.colours, self._unit(metric))
            for number, (metric, rows) in enumerate(points.items())
        }

    def _unit(self, metric: str) -> str:
        """Return what the runs that measured a metric count."""
        units = (run.unit for run in self.runs if metric in run.metrics)
        return " or ".join(dict.fromkeys(units))

    def seed_points(self) -> list[dict[str, Any]]:
        """Return the points of single runs."""
        return curves.seed_points(self.runs, curves.shown_metrics(self.runs), self.names)

    def told_colourings(self) -> dict[str, Any]:
        """Return all colourings, as the page's script takes them."""
        return {
            name: {"lines": values, "colours": palette(list(values.values()))}
            for name, values in self.colourings.items()
        }
