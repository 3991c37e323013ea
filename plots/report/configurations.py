"""Configurations of a report: runs that differ in seeds alone, their labels and colours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from plots.report.runs import ReportRun

MOST = 40
"""Number of configurations whose curves and differences are shown."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#666666")
"""Colours that people with colour blindness tell apart (Okabe and Ito)."""
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (200, 190, 30))
"""Colours of more lines than that, in order: those of viridis, which are as clear to all."""
CONFIGURATION = "configuration"
"""Name of the colouring in which each configuration has its own."""

Key = tuple[str, ...]


def by_configuration(runs: Sequence[ReportRun]) -> dict[Key, list[ReportRun]]:
    """Return the runs of each configuration, in order."""
    found: dict[Key, list[ReportRun]] = defaultdict(list)
    for run in runs:
        found[run.configuration].append(run)
    return dict(found)


def labels(runs: Sequence[ReportRun]) -> dict[Key, str]:
    """Return the label of each configuration: its name, with the options that tell it apart."""
    firsts = {key: own[0] for key, own in by_configuration(runs).items()}
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    stages: dict[Key, set[str]] = defaultdict(set)
    for run in firsts.values():
        stages[run.name, *run.options.values()].add(run.stage)
        for option, value in run.options.items():
            values[run.name, option].add(value)
    ends = Counter(
        (name, option.rpartition(".")[2])
        for (name, option), different in values.items()
        if len(different) > 1
    )
    found = {}
    for key, run in firsts.items():
        varying = [
            f"{end if ends[run.name, end] == 1 else option} {value}"
            for option, value in run.options.items()
            if value and len(values[run.name, option]) > 1
            for end in [option.rpartition(".")[2]]
        ]
        is_told = len(stages[run.name, *run.options.values()]) == 1
        found[key] = ", ".join([run.name, *varying, *([] if is_told else [run.stage])])
    return found


def title(run: ReportRun, names: Mapping[Key, str]) -> str:
    """Return the label of a run's configuration, with its seed if it was given one."""
    return names[run.configuration] + (f", seed {run.seed}" if run.seed else "")


def chosen(runs: Sequence[ReportRun]) -> list[ReportRun]:
    """Return the runs of up to `MOST` configurations.

    If there are more, these are spread evenly over the order of mean scores: the best and the worst
    are among them.
    """
    groups = by_configuration(runs)
    if len(groups) <= MOST:
        return list(runs)

    def mean_score(key: Key) -> float:
        scores = [run.score for run in groups[key] if run.score is not None]
        return fmean(scores) if scores else -np.inf

    ranked = sorted(groups, key=mean_score)
    kept = {ranked[place] for place in np.linspace(0, len(ranked) - 1, MOST).round().astype(int)}
    return [run for run in runs if run.configuration in kept]


def colourings(runs: Sequence[ReportRun], names: Mapping[Key, str]) -> dict[str, dict[str, str]]:
    """Return the values that lines are coloured by: each configuration, and each varying option.

    Of each colouring, the dictionary has the value of each line.
    """
    firsts = {names[run.configuration]: run for run in runs}
    found = {CONFIGURATION: {name: name for name in firsts}}
    for option in dict.fromkeys(option for run in firsts.values() for option in run.options):
        values = {name: run.options.get(option, "") for name, run in firsts.items()}
        if 1 < len(set(values.values())) < len(values):
            found[option] = values
    return found


def palette(values: Sequence[str]) -> dict[str, str]:
    """Return a colour for each of the different values, in their order."""
    different = list(dict.fromkeys(values))
    if len(different) <= len(COLOURS):
        return dict(zip(different, COLOURS, strict=False))
    places = np.linspace(0, len(_RAMP) - 1, len(different))
    mixed = [np.interp(places, range(len(_RAMP)), part) for part in zip(*_RAMP, strict=True)]
    return {
        value: "#" + "".join(f"{round(part):02x}" for part in colour)
        for value, colour in zip(different, zip(*mixed, strict=True), strict=True)
    }
