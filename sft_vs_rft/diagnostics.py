"""Measurements of an update: gradient norms of parts of a batch, and means over these parts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sft_vs_rft import objectives
from sft_vs_rft.config import CHANGED, OTHERS, ControlledConfig
from sft_vs_rft.methods import Predictions


def couples_inputs(model: nn.Module) -> bool:
    """Return whether a training-mode output depends on other inputs or on a random draw.

    Such a model reads a batch in one pass: a second one would change its state or draw again.
    """
    normalises = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    return normalises or any(
        isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules()
    )


def gradient_norms(
    params: Tensor, update: Tensor, added: Mapping[str, tuple[Tensor, Tensor | float]]
) -> dict[str, Tensor]:
    """Return the gradient norms of the objective's mean over all inputs, and over each part.

    For an objective that is a mean over inputs, the parts' gradients, weighted by their share of
    the batch, add up to the update's. Tensors are scalars, or [R] for R runs.

    Args:
        params: norm of the weights before the update.
        update: norm of the gradient of the mean over all inputs.
        added: for each part that has inputs, the norm of its contribution to that gradient, and its
            share of the inputs.

    Returns:
        ``"params_norm"``, ``"grad norm"`` and ``"grad norm <part>"``, the gradients' also relative
        to the weights' as ``"normalized ..."``.
    """
    absolute = {"grad norm": update}
    absolute |= {f"grad norm {part}": value / share for part, (value, share) in added.items()}
    relative = {f"normalized {name}": value / params for name, value in absolute.items()}
    return {"params_norm": params} | absolute | relative


def measured_per_input(
    given: Predictions, objective: Tensor, kl: Tensor, config: ControlledConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the measurements [b] of predictions, by name: of all inputs, and of each part.

    Args:
        given: the predictions, made before the update.
        objective: [b] with its penalty.
        kl: [b] KL from the reference.
        config: its keys choose whether more than losses and accuracies is measured.
    """
    whole = {"train loss": objectives.cross_entropy(given.logits, given.labels)}
    if config.diagnostics:
        whole |= {"reg objective value": objective, "kl reg": kl}
    if config.multi_label:
        return whole, {}
    correct = (given.logits.argmax(-1) == given.labels).float()
    whole["train accuracy"] = correct
    if not config.diagnostics:
        return whole, {}
    reward, std = given.reward_and_std()
    whole["reward"] = reward
    return whole, {
        "reg objective": objective,
        "train accuracy": correct,
        "reward": reward,
        "avg reward std": std,
    }


def part_means(values: dict[str, Tensor], num_changed: int) -> dict[str, Tensor]:
    """Return the means of per-input values over the changed inputs and over the others.

    Args:
        values: [B] by name; the changed inputs come first.
        num_changed: number of changed inputs.

    Returns:
        Scalars by ``"<name> <part>"``; a part without inputs has none.
    """
    table = torch.stack(list(values.values()))  # [names, B]
    means: dict[str, Tensor] = {}
    for part, rows in ((CHANGED, table[:, :num_changed]), (OTHERS, table[:, num_changed:])):
        if rows.shape[1]:
            names = [f"{name} {part}" for name in values]
            means |= dict(zip(names, rows.mean(1).unbind(), strict=True))
    return means
