"""Plans, runs and their folders, the runner, and the template of a run that trains.

Users' own experiments import from here.
"""

from typing import TYPE_CHECKING

from common.lazy import public_names

if TYPE_CHECKING:
    from common.config.base import Config as Config
    from common.config.fit import FitConfig as FitConfig
    from common.config.run import RunConfig as RunConfig
    from common.errors import Problem as Problem
    from common.errors import UserError as UserError
    from common.experiment import Context as Context
    from common.experiment import Experiment as Experiment
    from common.experiment import Member as Member
    from common.training.fit_experiment import FitExperiment as FitExperiment
    from common.training.stepwise_run import StepwiseRun as StepwiseRun
    from common.training.trainer import Callback as Callback
    from common.training.trainer import Trainer as Trainer

__getattr__, __dir__ = public_names(
    __name__,
    {
        "Callback": "common.training.trainer",
        "Config": "common.config.base",
        "Context": "common.experiment",
        "Experiment": "common.experiment",
        "FitConfig": "common.config.fit",
        "FitExperiment": "common.training.fit_experiment",
        "Member": "common.experiment",
        "Problem": "common.errors",
        "RunConfig": "common.config.run",
        "StepwiseRun": "common.training.stepwise_run",
        "Trainer": "common.training.trainer",
        "UserError": "common.errors",
    },
)
