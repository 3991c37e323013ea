"""Objective of log-linear policy gradient, with its gradient in closed form, for R runs at once.

For one input, with probabilities pi, rewards r, V = sum pi r, and n inputs:

    exact:           J = V,             dJ/dlogits = pi (r - V)
    sampled, y ~ pi: J = r(y) ln pi(y), dJ/dlogits = r(y) (one at y - pi)
    KL(pi || ref):   K = sum pi ln(pi / ref),   dK/dlogits = pi (ln(pi / ref) - K)
    KL(ref || pi):   K = sum ref ln(ref / pi),  dK/dlogits = pi - ref

The objective is the mean over inputs of J - coefficient K; logits are <phi, w> / temperature, so
that the gradient in w is the sum of phi / (n temperature) times those above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.policy import drawn_outputs, log_softmax, mean, mean_gradient
from sft_vs_rft.log_linear.setting import Setting

_STD_EPS = 1e-8
_NORM_EPS = 1e-7


@dataclass(frozen=True)
class Task:
    """Keys, setting and reference of a run, which make its objective with its weights."""

    config: LogLinearConfig
    setting: Setting
    log_reference: np.ndarray
    """[B, C] log-probabilities of the reference."""


@dataclass(frozen=True)
class Moment:
    """Policies of R runs at their present weights, and the outputs drawn from them."""

    log_probs: np.ndarray
    """[R, B, C]."""
    drawn: np.ndarray | None
    """[R, B, C] ones at the drawn outputs; None for exact updates."""

    @cached_property
    def probs(self) -> np.ndarray:
        """[R, B, C]."""
        probs: np.ndarray = np.exp(self.log_probs)
        return probs

    @property
    def score_gradient(self) -> np.ndarray:
        """[R, B, C] gradient of the drawn outputs' log-probabilities: ones there minus pi."""
        assert self.drawn is not None
        gradient: np.ndarray = self.drawn - self.probs
        return gradient


class Objective:
    """Objective of R runs with equal ``vectorize_key()`` and sizes of their settings."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        config = self._config = tasks[0].config
        self._has_kl = config.kl_regularization_coeff > 0
        settings = [task.setting for task in tasks]
        self._rewards = np.stack([setting.rewards for setting in settings])  # [R, B, C]
        self._truth = np.stack([setting.ground_truth_rewards for setting in settings])
        self._log_reference = np.stack([task.log_reference for task in tasks])
        num_inputs, num_outputs, dim = settings[0].shape
        features = [task.setting.scaled_features(task.config.logits_temperature) for task in tasks]
        self._features = np.stack(features).reshape(len(tasks), num_inputs * num_outputs, dim)
        self._kl_coef = np.array(
            [[[task.config.kl_regularization_coeff]] for task in tasks], self._rewards.dtype
        )  # [R, 1, 1]

    def at(self, weights: np.ndarray, uniforms: np.ndarray | None) -> Moment:
        """Return the policies at ``weights`` [R, D]; ``uniforms`` [R, B] draw outputs."""
        logits = (self._features @ weights[..., None]).reshape(self._rewards.shape)
        log_probs = log_softmax(logits)
        moment = Moment(log_probs, None)
        return (
            moment if uniforms is None else Moment(log_probs, drawn_outputs(moment.probs, uniforms))
        )

    def gradient(self, moment: Moment) -> np.ndarray:
        """Return [R, D] the gradient of the objective in the weights."""
        of_logits = self._reward_gradient(moment)
        if self._has_kl:
            of_logits = of_logits - self._kl_coef * self._kl_gradient(moment)
        runs, inputs, _ = of_logits.shape
        gradient: np.ndarray = (of_logits.reshape(runs, 1, -1) @ self._features)[:, 0] / inputs
        return gradient

    def _reward_gradient(self, moment: Moment) -> np.ndarray:
        probs, drawn = moment.probs, moment.drawn
        if drawn is None:
            gradient = mean_gradient(probs, self._rewards)
        else:
            gradient = mean(drawn, self._rewards) * moment.score_gradient
        if not self._config.normalize_by_reward_std:
            return gradient
        scale = self._reward_std(moment) + _STD_EPS
        if self._config.reward_std_gradient == "published":
            # d(J / s) = dJ / s - (J / s) ds / s, where J is the mean over inputs
            objective = self._unscaled(moment).mean(1, keepdims=True)
            gradient = gradient - objective / scale * self._std_gradient(moment)
        scaled: np.ndarray = gradient / scale
        return scaled

    def _unscaled(self, moment: Moment) -> np.ndarray:
        """Return [R, B, 1] each input's objective without KL, in units of the rewards."""
        if moment.drawn is None:
            return mean(moment.probs, self._rewards)
        rewards, log_probs = (mean(moment.drawn, x) for x in (self._rewards, moment.log_probs))
        objective: np.ndarray = rewards * log_probs
        return objective

    def _reward_std(self, moment: Moment) -> np.ndarray:
        """Return [R, 1, 1] the mean over inputs of the rewards' standard deviation."""
        std: np.ndarray = np.sqrt(self._reward_square(moment)).mean(1, keepdims=True)
        return std

    def _reward_square(self, moment: Moment) -> np.ndarray:
        """Return [R, B, 1] the mean square of the rewards about what they are centred on."""
        return mean(moment.probs, (self._rewards - self._centre(moment)) ** 2)

    def _centre(self, moment: Moment) -> np.ndarray:
        """Return [R, B or 1, 1] the expected reward of each input or, as published, of all."""
        centre = mean(moment.probs, self._rewards)
        if self._config.reward_std_gradient == "published":
            centre = centre.mean(1, keepdims=True)
        return centre

    def _std_gradient(self, moment: Moment) -> np.ndarray:
        """Return [R, B, C] n times the gradient of the published standard deviation.

        With M the mean of V over inputs and q = sum pi (r - M)^2, the deviation is the mean of the
        roots of q; M moves with the policy of every input.
        """
        probs, centre = moment.probs, self._centre(moment)
        root = np.sqrt(self._reward_square(moment))
        own = mean_gradient(probs, (self._rewards - centre) ** 2) / (2 * root)
        pull = ((mean(probs, self._rewards) - centre) / root).mean(1, keepdims=True)
        gradient: np.ndarray = own - pull * mean_gradient(probs, self._rewards)
        return gradient

    def _kl(self, moment: Moment) -> np.ndarray:
        """Return [R, B, 1] each input's penalty without its coefficient."""
        log_ratio = moment.log_probs - self._log_reference
        if self._config.use_forward_kl_reg:
            return -mean(np.exp(self._log_reference), log_ratio)
        if self._is_kl_sampled(moment):
            assert moment.drawn is not None
            return mean(moment.drawn, log_ratio)
        return mean(moment.probs, log_ratio)

    def _kl_gradient(self, moment: Moment) -> np.ndarray:
        """Return [R, B, C] the gradient of `_kl` in the logits."""
        if self._config.use_forward_kl_reg:
            gradient: np.ndarray = moment.probs - np.exp(self._log_reference)
            return gradient
        if self._is_kl_sampled(moment):
            return moment.score_gradient
        return mean_gradient(moment.probs, moment.log_probs - self._log_reference)

    def _is_kl_sampled(self, moment: Moment) -> bool:
        return moment.drawn is not None and self._config.sampled_kl == "published"

    def measure(self, weights: np.ndarray, moment: Moment) -> dict[str, np.ndarray]:
        """Return the metrics [R] of the update from ``weights`` [R, D], before it is made."""
        drawn = moment.probs if moment.drawn is None else moment.drawn
        scale = np.ones(len(weights))
        if self._config.normalize_by_reward_std:
            scale = self._reward_std(moment)[:, 0, 0] + _STD_EPS
        kl = self._kl(moment).mean((1, 2)) if self._has_kl else np.zeros(len(weights))
        objective = self._unscaled(moment).mean((1, 2)) / scale
        norm, step = (np.linalg.norm(x, axis=1) for x in (weights, self.gradient(moment)))
        value, truth = mean(moment.probs, self._rewards), mean(moment.probs, self._truth)
        variance = mean(moment.probs, (self._rewards - value) ** 2)
        found = {
            "reward": mean(drawn, self._rewards).mean((1, 2)) / scale,
            "reg objective value": objective - self._kl_coef[:, 0, 0] * kl,
            "kl reg": kl,
            "expected reward": value.mean((1, 2)),
            "expected ground truth reward": truth.mean((1, 2)),
            "reward var": variance.mean((1, 2)),
            "params_norm": norm,
            "grad norm": step,
            "normalized grad norm": step / (norm + _NORM_EPS),
        }
        if moment.probs.shape[-1] <= self._config.track_output_probs_thresh:
            found |= _of_inputs(moment, value[..., 0], truth[..., 0])
        return found

    def expected_truth(self, path: np.ndarray) -> np.ndarray:
        """Return [S, R] the expected ground truth reward at weights [S, R, D]."""
        logits = self._features @ path.transpose(1, 2, 0)  # [R, B * C, S]
        probs = np.exp(
            log_softmax(logits.transpose(2, 0, 1).reshape(len(path), *self._truth.shape))
        )
        rewards: np.ndarray = mean(probs, self._truth).mean((2, 3))
        return rewards


def _of_inputs(moment: Moment, value: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics [R] of single inputs, whose expected rewards are [R, B]."""
    found = {}
    for j in range(value.shape[1]):
        found[f"input_{j}_expected_reward"] = value[:, j]
        found[f"input_{j}_expected_ground_truth_reward"] = truth[:, j]
        for i in range(moment.probs.shape[-1]):
            found[f"input_{j}_y_prob_{i}"] = moment.probs[:, j, i]
            found[f"input_{j}_ln_y_prob_{i}"] = moment.log_probs[:, j, i]
    return found
