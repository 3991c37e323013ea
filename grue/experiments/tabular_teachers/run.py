"""Run of a tabular study: reward models are measured at the start, and each trains a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import Problem
from common.experiment import Context
from common.plan.run import Run
from common.run.folder import write_table
from common.run.summary import write_summary
from grue.experiments.tabular_teachers.config import TabularTeachersConfig
from grue.experiments.tabular_teachers.studies import Study, make_study
from grue.experiments.tabular_teachers.training import Moment, train
from grue.experiments.teacher.measures import Outputs, of_samples
from grue.random_streams import Occasion, generator
from grue.rl.reward_accuracy import pairs_by_truth
from grue.rl.reward_variance import Normalization

Floats = NDArray[np.float64]


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return no problems: the study is made of its keys alone."""
    return []


def run(config: TabularTeachersConfig, context: Context) -> float:
    """Measure and train; the score is the largest increase in true reward."""
    import pandas as pd

    seed = context.seed
    study = make_study(config, seed)
    columns = _drawn(study.log_probs, config.num_measured_samples, seed)
    rows = np.arange(len(study.log_probs))[:, None]
    truth = Normalization.of(study.truth[rows, columns]).applied(study.truth)
    rewards = study.rewards
    if config.normalize:
        rewards = np.stack([Normalization.of(of[rows, columns]).applied(of) for of in rewards])
    moments = list(train(config, study.log_probs, rewards, truth, seed=seed))
    found = [*_measured(study, columns), *_gains(study.names, moments)]
    write_table(context.folder.table("teachers"), pd.DataFrame(found))
    write_table(context.folder.table("teacher_curves"), pd.DataFrame(_curves(study.names, moments)))
    score = float((moments[-1].truth - moments[0].truth).max())
    write_summary(context.folder, score, "true_gain")
    return score


def _drawn(log_probs: Floats, num_samples: int, seed: int) -> NDArray[np.int64]:
    """Return [N, K] outputs of the initial policy."""
    draw = generator(Occasion.TABULAR, seed, 0, 0)  # steps have one number
    uniforms = draw.random((len(log_probs), num_samples, 1))
    below = np.exp(log_probs).cumsum(-1)[:, None] <= uniforms
    found: NDArray[np.int64] = np.minimum(below.sum(-1), log_probs.shape[1] - 1)
    return found


def _measured(study: Study, columns: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield the measures of each reward model on the same outputs."""
    rows = np.arange(len(columns))[:, None]
    truth = study.truth[rows, columns]
    pairs, lengths = pairs_by_truth(truth), np.ones(columns.shape)
    for name, rewards in zip(study.names, study.rewards, strict=True):
        outputs = Outputs(rewards[rows, columns], truth, study.log_probs[rows, columns], lengths)
        for measure in of_samples(outputs, pairs):
            yield {"reward": name, "measure": measure.name, "value": measure.of(measure.data)}


def _gains(names: Sequence[str], moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    """Yield the increases of the trained and of the true reward, and the KL divergence."""
    first, last = moments[0], moments[-1]
    found = {
        "trained_gain": last.rewards - first.rewards,
        "true_gain": last.truth - first.truth,
        "kl": last.kl,
    }
    for measure, values in found.items():
        for name, value in zip(names, values.tolist(), strict=True):
            yield {"reward": name, "measure": measure, "value": value}


def _curves(names: Sequence[str], moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    """Yield rewards and KL divergence of each policy by step."""
    for moment in moments:
        numbers = (moment.rewards.tolist(), moment.truth.tolist(), moment.kl.tolist())
        for name, trained, true, kl in zip(names, *numbers, strict=True):
            yield {"reward": name, "step": moment.step, "trained_reward": trained,
                   "true_reward": true, "kl": kl}  # fmt: skip
