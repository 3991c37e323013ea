"""Stacks: R models of one architecture as one batched model, and R optimisers as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector


class StackedModel:
    """Weights of R models as one tensor; the models' own weights become views of it.

    Each model can still be used, saved and loaded alone.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Stack ``models``, which are those of `sft_vs_rft.models.build.mlp`."""
        named = dict(models[0].named_parameters())
        self._names = list(named)
        self._shapes = [param.shape for param in named.values()]
        self._architecture = nn.Sequential(*map(_stacked, models[0].children()))
        self.weights = torch.stack(
            [parameters_to_vector(model.parameters()).detach() for model in models]
        )
        for row, model in enumerate(models):
            for param, view in zip(model.parameters(), self.views(self.weights[row]), strict=True):
                param.data = view
        self.weights.requires_grad_()  # [R, P]

    def views(self, row: Tensor) -> list[Tensor]:
        """Return the parts of ``row`` [P], or of rows [R, P], in the shapes of the parameters."""
        parts = row.split([shape.numel() for shape in self._shapes], dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return [R, b, C] each model's logits for its own inputs [R, b, ...]."""
        parameters = dict(zip(self._names, self.views(self.weights), strict=True))
        logits: Tensor = functional_call(self._architecture, parameters, (inputs,))
        return logits


class _StackedLinear(nn.Module):
    """R linear layers; `functional_call` replaces their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, device="meta"))  # [R, out, in]
        self.bias = nn.Parameter(torch.empty(0, device="meta"))  # [R, out]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [R, b, out] the outputs of [R, b, in]."""
        return torch.baddbmm(self.bias[:, None], inputs, self.weight.mT)


def _stacked(layer: nn.Module) -> nn.Module:
    """Return the layer for inputs [R, b, ...].

    `torch.func.vmap` would work for any layer, but splits a linear one into four operations, which
    makes the forward and backward pass of a small MLP 50 % slower.
    """
    if isinstance(layer, nn.Linear):
        return _StackedLinear()
    assert isinstance(layer, nn.Flatten | nn.ReLU), layer
    return nn.Flatten(start_dim=2) if isinstance(layer, nn.Flatten) else layer


class StackedOptimizer(Protocol):
    """Optimizer of R models at once, each with its own step size and weight decay."""

    def step(self, gradient: Tensor) -> None:
        """Make one update by the gradient [R, P] of the loss."""


class StackedSgd:
    """`torch.optim.SGD` without momentum, for R models."""

    def __init__(self, model: StackedModel, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._weights = model.weights
        self._lr = _column(optimizers, "lr", model.weights)
        self._weight_decay = _column(optimizers, "weight_decay", model.weights)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Update W <- w - lr (g + wd w)."""
        self._weights.sub_(self._lr * (gradient + self._weight_decay * self._weights))


class StackedAdam:
    """`torch.optim.Adam` for R models; the optimisers' own states become views of the stack."""

    def __init__(self, model: StackedModel, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._weights = model.weights
        self._lr = _column(optimizers, "lr", model.weights)
        self._weight_decay = _column(optimizers, "weight_decay", model.weights)
        defaults = optimizers[0].defaults
        (self._beta1, self._beta2), self._eps = defaults["betas"], defaults["eps"]
        self._mean = torch.zeros_like(model.weights, requires_grad=False)  # [R, P]
        self._square = torch.zeros_like(self._mean)  # [R, P]
        params = [optimizer.param_groups[0]["params"] for optimizer in optimizers]
        # One count per parameter, as torch has it: states that share one would count it up twice.
        self._steps = torch.zeros(len(optimizers), len(params[0]), device=self._mean.device)
        for row, optimizer in enumerate(optimizers):
            means, squares = model.views(self._mean[row]), model.views(self._square[row])
            parts = zip(params[row], self._steps[row], means, squares, strict=True)
            for param, step, exp_avg, exp_avg_sq in parts:
                own = {"step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
                for name, value in optimizer.state.get(param, {}).items():
                    own[name].copy_(value)
                optimizer.state[param] = own

    @torch.no_grad()
    def step(self, gradient: Tensor) -> None:
        """Update by Adam (arXiv 1412.6980, algorithm 1) on g + wd w."""
        self._steps += 1
        gradient = torch.addcmul(gradient, self._weight_decay, self._weights)
        self._mean.lerp_(gradient, 1 - self._beta1)
        self._square.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        steps = self._steps[:, :1].double()  # in float32, 1 - beta2 would lose four digits
        step_size = (self._lr / (1 - self._beta1**steps)).to(gradient.dtype)  # [R, 1]
        scale = (1 - self._beta2**steps).sqrt().to(gradient.dtype)  # [R, 1]
        deviation = self._square.sqrt().div_(scale).add_(self._eps)
        self._weights.sub_(step_size * self._mean / deviation)


STACKED_OPTIMIZERS: dict[
    str, Callable[[StackedModel, Sequence[torch.optim.Optimizer]], StackedOptimizer]
] = {"sgd": StackedSgd, "adam": StackedAdam}


def _column(optimizers: Sequence[torch.optim.Optimizer], key: str, like: Tensor) -> Tensor:
    """Return [R, 1] the setting ``key`` of each optimiser."""
    return like.new_tensor([[optimizer.param_groups[0][key]] for optimizer in optimizers])
