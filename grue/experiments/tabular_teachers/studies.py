"""Studies of reward models: a start, a true reward, and the rewards that are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grue.experiments.tabular_teachers.config import (
    Error,
    NoisyRewards,
    RewardsWithErrors,
    TabularTeachersConfig,
)
from grue.random_streams import Occasion, generator

Floats = NDArray[np.float64]

BEST, MEDIOCRE, FIRST_BAD = 0, 1, 2
"""Columns of outputs where errors are studied."""
_REWARDS = {"best": 1.0, "mediocre": 0.8, "worst": -1.0, "least_bad": -0.5}
_MEDIOCRE_PROBABILITY = 0.5


@dataclass(frozen=True)
class Study:
    """N prompts with Y outputs each, and M reward models."""

    log_probs: Floats
    """[N, Y] of the initial policy."""
    truth: Floats
    """[N, Y] true rewards."""
    names: list[str]
    """[M] names of the reward models."""
    rewards: Floats
    """[M, N, Y] their rewards."""


def make_study(config: TabularTeachersConfig, seed: int) -> Study:
    """Return the study that the keys describe; ``seed`` draws all of it."""
    draw = generator(Occasion.TABULAR, seed)
    shape = config.num_prompts, config.num_outputs
    models = config.reward_models
    if isinstance(models, NoisyRewards):
        return _with_noise(models, shape, draw)
    return _with_errors(models, shape, draw)


def _with_noise(keys: NoisyRewards, shape: tuple[int, int], draw: np.random.Generator) -> Study:
    logits = keys.logits_std * draw.standard_normal(shape)
    own, of_prompts = draw.standard_normal(shape), draw.standard_normal((shape[0], 1))
    weights = np.sqrt([1 - keys.between_share, keys.between_share])
    truth = weights[0] * own + weights[1] * of_prompts + keys.truth_mean
    noise, offsets = draw.standard_normal(shape), draw.standard_normal((shape[0], 1))
    is_scaled = draw.permutation(shape[0]) < keys.scaled_share * shape[0]
    scaled = np.where(is_scaled[:, None], keys.scaled_factor * truth, truth)
    log_probs = _log_softmax(logits)
    rewards = {"truth": truth, "truth scaled": scaled}
    for a in keys.noise:
        noisy = (own + a * noise) / np.sqrt(1 + a**2)
        noisy -= (np.exp(log_probs) * noisy).sum(1, keepdims=True)
        rewards |= {f"noise {a:g}, offset {c:g}": noisy + c * offsets for c in keys.offset}
    return Study(log_probs, truth, list(rewards), np.stack(list(rewards.values())))


def _with_errors(
    keys: RewardsWithErrors, shape: tuple[int, int], draw: np.random.Generator
) -> Study:
    num_prompts, num_outputs = shape
    probs = np.empty(shape)
    probs[:, BEST] = draw.uniform(*keys.best_probability, num_prompts)
    probs[:, MEDIOCRE] = _MEDIOCRE_PROBABILITY
    left = 1 - probs[:, BEST] - _MEDIOCRE_PROBABILITY
    probs[:, FIRST_BAD:] = left[:, None] / (num_outputs - FIRST_BAD)
    truth = draw.uniform(_REWARDS["worst"], _REWARDS["least_bad"], shape)
    truth[:, BEST], truth[:, MEDIOCRE] = _REWARDS["best"], _REWARDS["mediocre"]
    rewards = [_wrong(truth, keys.errors, draw) for _ in range(keys.num_models)]
    names = [f"model {number}" for number in range(keys.num_models)]
    return Study(np.log(probs), truth, names, np.stack(rewards))


def _wrong(truth: Floats, errors: tuple[Error, ...], draw: np.random.Generator) -> Floats:
    """Return [N, Y] rewards of a model with a random rate of each error."""
    found, num_prompts = truth.copy(), len(truth)
    bad = found[:, FIRST_BAD:]
    for error in errors:
        hit = np.flatnonzero(draw.random(num_prompts) < draw.random())
        if error == "benign":
            bad[hit] = draw.permuted(bad[hit], axis=1)
        elif error == "beneficial":
            found[hit, MEDIOCRE] = _REWARDS["worst"]
        else:
            like = _REWARDS["best" if error == "hacking" else "mediocre"]
            bad[hit, draw.integers(bad.shape[1], size=len(hit))] = like
    return found


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found
