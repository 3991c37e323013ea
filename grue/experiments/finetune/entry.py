"""Entry of finetuning: chooses the run by references or by rewards."""

from __future__ import annotations

from common.experiment import Context
from grue.algorithms.config import SupervisedAlg
from grue.experiments.finetune.config import FinetuneConfig


def run(config: FinetuneConfig, context: Context) -> float | None:
    """Finetune; the score is the first metric on the validation split at the end."""
    if isinstance(config.alg, SupervisedAlg):
        from grue.experiments.finetune.supervised import SupervisedRun

        return SupervisedRun(config, config.alg, context).run()
    from grue.experiments.finetune.reinforcement import ReinforcementRun

    return ReinforcementRun(config, config.alg, context).run()
