"""Check of users' own experiments, whose functions are imported before the first run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.custom.signatures import check_function
from common.custom.user_code import CUSTOM
from common.errors import Problem, UserError
from common.experiment import Experiment
from common.plan.run import Run
from common.registry import import_part


def wrong_functions(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of functions that cannot be imported, or not be called as needed."""
    own = {run.experiment: run for run in reversed(runs) if run.experiment.startswith(CUSTOM)}
    return [
        Problem(message, "experiment", name, run.where)
        for name, run in own.items()
        for message in _wrong(run.spec)
    ]


def _wrong(spec: Experiment) -> Iterator[str]:
    for path, parameters in (
        (spec.run, ("config", "context")),
        (spec.preflight, ("runs",)),
        (spec.run_together, ("members",)),
        (spec.memory, ("runs",)),
    ):
        if path is not None:
            try:
                check_function(import_part(path), path, *parameters)
            except UserError as error:
                yield str(error)
