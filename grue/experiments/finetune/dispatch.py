"""Entry of finetuning: chooses the run by references or by rewards."""

from __future__ import annotations

from common.experiment import Context
from grue.experiments.finetune.config import (
    FinetuneConfig,
    ReinforcementConfig,
    SupervisedConfig,
)


def run(config: FinetuneConfig, context: Context) -> float | None:
    """Finetune; the score is the first metric on the validation split at the end."""
    if isinstance(config, SupervisedConfig):
        from grue.experiments.finetune.supervised import SupervisedRun

        return SupervisedRun(config, context).run()
    assert isinstance(config, ReinforcementConfig), "every configuration is of one kind"
    from grue.experiments.finetune.reinforcement import ReinforcementRun

    return ReinforcementRun(config, context).run()
