"""Finetuning of a language model: by its references, or by rewards."""

from __future__ import annotations

from common.experiment import Context
from grue.algorithm_config import SupervisedAlg
from grue.config import FinetuneConfig


def run(config: FinetuneConfig, context: Context) -> float | None:
    """Finetunes; the score is the first metric on the validation split at the end."""
    if isinstance(config.alg, SupervisedAlg):
        from grue.supervised_run import SupervisedRun

        return SupervisedRun(config, config.alg, context).run()
    from grue.reinforcement_run import ReinforcementRun

    return ReinforcementRun(config, config.alg, context).run()
