"""Learning time of one input of a linear model (arXiv 2310.20703, section 4.3).

Two labels, logits W phi(x) with W [2, D], reward +1 for the right label and -1 for the other. With
z the difference of the logits, p = sigmoid(z) is the probability of the right label and

    V = 2 p - 1,    STD = 2 sqrt(p (1 - p)),    -cross-entropy = log p.

An objective f(z) has the gradient f'(z) phi in the right label's row of W and -f'(z) phi in the
other's. Gradient ascent moves both, each changes z by ||phi||^2 f'(z), and so

    RFT:  dz/dt = 2 ||phi||^2 2 p (1 - p),      t = [2 z + e^z - e^-z] / (4 ||phi||^2),
    SFT:  dz/dt = 2 ||phi||^2 (1 - p),          t = [z + e^z] / (2 ||phi||^2),

where [ ] is the increase from start to end, since 1 / (p (1 - p)) = 2 + e^z + e^-z and
1 / (1 - p) = 1 + e^z. From STD = epsilon, e^-z0 is about 4 / epsilon^2: RFT takes about
epsilon^-2 / ||phi||^2, SFT about log(1 / epsilon) / ||phi||^2.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.errors import Problem
from common.experiment import Context
from common.run.folder import write_text
from common.run.summary import write_summary
from sft_vs_rft import objectives
from sft_vs_rft.theory.config import LinearConfig

_RIGHT = 0
"""Index of the right label: row 0 of W."""
_DIRECTION = torch.tensor([0.6, 0.8], dtype=torch.float64)
"""Direction of phi; any other gives the same times."""

Objective = Callable[[Tensor], Tensor]

OBJECTIVES: dict[str, Objective] = {
    "supervised": lambda logits: -objectives.cross_entropy(logits, torch.tensor([_RIGHT])),
    # A constant added to all rewards moves V and not its gradient. With the lower reward at 0
    # instead of -1, that of the other row stays exact where p is too small to show in 1 - p.
    "expected_reinforce": lambda logits: objectives.expected_reward(
        logits, torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    ),
}
"""Objectives to maximise, [1] from logits [1, 2], by ``opt_method``."""


@dataclass(frozen=True)
class Flow:
    """Gradient flow from start to target, at the integrator's steps."""

    times: Sequence[float]
    logits: Sequence[float]
    """Log-odds z of the right label."""


def run(config: LinearConfig, context: Context) -> float:
    """Follow the flow and count gradient steps; the score is the flow's time."""
    flow = integrate(config)
    steps = count_steps(config)
    rows = [
        {
            "epoch": number,
            "time": time,
            "train loss": math.log1p(math.exp(-logit)),
            "reward": math.tanh(logit / 2),
            "reward std": 1 / math.cosh(logit / 2),
        }
        for number, (time, logit) in enumerate(zip(flow.times, flow.logits, strict=True))
    ]
    write_text(context.folder.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    score = flow.times[-1]
    result = {
        "time": score,
        "closed_form_time": closed_form_time(config),
        "steps": steps,
        "steps_times_lr": None if steps is None else steps * config.lr,
    }
    write_summary(context.folder, score, "time", last=result)
    context.progress(1, 1)
    return score


def check(runs: Sequence[object]) -> list[Problem]:
    """Return no problems: a run reads no files."""
    return []


def closed_form_time(config: LinearConfig) -> float:
    """Return the flow's time from start to target; n gradient steps of size lr last about n lr."""
    start, end = config.start_logit, config.target_logit
    growth = math.exp(end) - math.exp(start)
    if config.opt_method == "supervised":
        return (end - start + growth) / (2 * config.feature_norm**2)
    growth += math.exp(-start) - math.exp(-end)
    return (2 * (end - start) + growth) / (4 * config.feature_norm**2)


def slope(method: str, logit: float) -> float:
    """Return f'(z), the derivative of the objective in the log-odds z of the right label."""
    wrong = 1 / (1 + math.exp(logit))  # 1 - p, without the cancellation
    if method == "supervised":
        return wrong
    return 2 * wrong / (1 + math.exp(-logit))


def count_steps(config: LinearConfig) -> int | None:
    """Return the number of gradient ascent steps of size ``lr`` on W until the target.

    Logits are linear in W, so that a step on W is one on z. None if ``max_steps`` are not enough.
    """
    logit, factor = config.start_logit, 2 * config.feature_norm**2 * config.lr
    for step in range(config.max_steps):
        logit += factor * slope(config.opt_method, logit)
        if logit >= config.target_logit:
            return step + 1
    return None


def weights_gradient(method: str, weights: Tensor, features: Tensor) -> Tensor:
    """Return the gradient of the objective in W, by autograd.

    Args:
        method: a key of `OBJECTIVES`.
        weights: [2, D] float64.
        features: [D] float64, phi.

    Returns:
        [2, D].
    """
    weights = weights.detach().requires_grad_()
    objective = OBJECTIVES[method]((weights @ features)[None])
    return torch.autograd.grad(objective.sum(), weights)[0]


def integrate(config: LinearConfig) -> Flow:
    """Return the gradient flow dW/dt = gradient on W until the right label has the target.

    Times range from 1 to epsilon^-2, and the fast part comes last: in steps of t it would be lost
    below the spacing of numbers near epsilon^-2. Therefore t is a function of the path's length s,
    dW/ds = gradient / ||gradient|| and dt/ds = 1 / ||gradient||.
    """
    from scipy.integrate import solve_ivp

    norm = config.feature_norm
    features = norm * _DIRECTION
    start = config.start_logit / (2 * norm) * torch.stack([_DIRECTION, -_DIRECTION])  # [2, D]
    length = (config.target_logit - config.start_logit) / (math.sqrt(2) * norm)

    def along_path(_: float, state: np.ndarray) -> np.ndarray:
        weights = torch.from_numpy(state[:-1]).view(2, -1)
        gradient = weights_gradient(config.opt_method, weights, features).flatten()
        speed = gradient.norm()
        return torch.cat([gradient / speed, 1 / speed[None]]).numpy()

    def beyond_target(_: float, state: np.ndarray) -> float:
        return _log_odds(state, features) - config.target_logit

    beyond_target.terminal = True  # type: ignore[attr-defined]  # where scipy looks for it
    solution = solve_ivp(
        along_path,
        (0, 2 * length),
        np.append(start.flatten().numpy(), 0.0),
        method="DOP853",
        events=[beyond_target],
        rtol=1e-10,
        atol=1e-12 * np.array([1 / norm] * start.numel() + [1 / norm**2]),
    )
    assert solution.status == 1, solution.message
    return Flow(solution.y[-1].tolist(), [_log_odds(state, features) for state in solution.y.T])


def _log_odds(state: np.ndarray, features: Tensor) -> float:
    """Return the log-odds z of a state, which holds W and then t."""
    right, other = torch.from_numpy(state[:-1]).view(2, -1) @ features
    return float(right - other)
