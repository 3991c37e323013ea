"""Preflight checks of runs that make a new model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.errors import Problem, UserError
from common.plan.run import Run
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.new_model.run import architecture, refused
from grue.experiments.preflight.cache import Answers, problems_of_all
from grue.experiments.preflight.data import made_later, of_task


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of unknown sizes of the architecture, and of unreadable texts."""
    return problems_of_all(runs, _problems_of)


def _problems_of(run: Run, answers: Answers) -> Iterator[Problem]:
    config = run.config
    assert isinstance(config, NewModelConfig)
    try:
        _check_sizes(config)
    except UserError as misfit:
        yield Problem(str(misfit))
    for position, task in enumerate(config.datapools):
        key = f"datapools[{position}]"
        error = of_task(task, answers, made_later(run, key))
        if error is not None:
            message = str(error).replace("'datapool.", f"'{key}.")
            yield Problem(message) if message != str(error) else Problem(message, key, task.id)


def _check_sizes(config: NewModelConfig) -> None:
    """Build the model without memory for its weights.

    Raises:
        UserError: the architecture refuses the sizes.
    """
    import torch
    from transformers import AutoModel

    found = architecture(config, config.vocab_size)
    try:
        with torch.device("meta"):
            AutoModel.from_config(found)
    except Exception as error:  # the library finds wrong sizes in many ways
        raise refused(config, error) from error
