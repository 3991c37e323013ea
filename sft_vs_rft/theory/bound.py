"""The bound that makes reinforcement gradients vanish, measured input by input.

For rewards in [-1, 1], Razin et al. (arXiv 2310.20703, theorem 1) prove

    ||grad V(x)|| <= 6 L_out gamma(x) STD_{y~pi(.|x)}[r(x, y)]^(2/3),    V(x) = E_{y~pi}[r(x, y)],

with gradients in all parameters, L_out the longest output and gamma the largest spectral norm of
the Jacobian of the logits over the prefixes of an output. A classifier's output is one label:
L_out = 1, one prefix, and gamma is the spectral norm of J = d logits / d parameters. There the
chain rule gives more, grad V = J^T pi (r - V) and therefore

    ||grad V(x)|| <= gamma(x) ||pi (r - V)|| <= gamma(x) STD,

since pi^2 <= pi. Both lines are theorems, so a point above either is an error of measurement.

Axis letters: B inputs, C classes, P parameters. A network is a function of its parameters and of
inputs [B, ...] that treats each input alone (BatchNorm and dropout in evaluation mode) and gives
the policy's logits [B, C], already divided by the temperature. Inputs of several lengths, such as
texts, come one by one: as a list of what the network takes for a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from common.training.shape_checks import check_shape
from sft_vs_rft import objectives
from sft_vs_rft.data.inputs import ModelInputs

Params = dict[str, Tensor]
Network = Callable[[Params, ModelInputs], Tensor]
Inputs = Tensor | Sequence[ModelInputs]

_L_OUT = 1
_NUMBERS_AT_A_TIME = 2**22
"""Largest number of gradient entries that inputs of one pass have together."""


@dataclass(frozen=True)
class Bounds:
    """Terms of the theorem's inequality for each of B inputs, in float64."""

    reward_std: Tensor  # [B], in units of the reward
    grad_norm: Tensor  # [B] exact ||grad V||, in units of the reward per unit of the parameters
    jacobian_norm: Tensor  # [B] gamma
    bound: Tensor  # [B] the theorem's


def measure(network: Network, params: Params, inputs: Inputs, rewards: Tensor) -> Bounds:
    """Return the norm of each input's expected gradient and its bound.

    Args:
        network: see the module.
        params: tensors by name, [P] numbers in all; gradients are taken with respect to them.
        inputs: [B, ...], or a list of B.
        rewards: [B, C] reward of each label.
    """
    batches = [inputs] if isinstance(inputs, Tensor) else inputs
    with torch.no_grad():
        # In float32, sums over labels end in rounding noise where the std is smallest.
        logits = torch.cat([network(params, batch) for batch in batches]).double()
    _, reward_std = objectives.reward_mean_std(logits, rewards)
    jacobian = jacobian_norm(network, params, inputs, num_classes=logits.shape[1])
    return Bounds(
        reward_std,
        value_gradient_norm(network, params, inputs, logits, rewards),
        jacobian,
        gradient_bound(jacobian, reward_std, largest_reward=rewards.abs().max().item()),
    )


def gradient_bound(
    jacobian_norm: Tensor, reward_std: Tensor, *, largest_reward: float = 1.0
) -> Tensor:
    """Return the theorem's bound on the norm of the expected gradient, 6 L_out gamma STD^(2/3).

    The theorem is about rewards in [-1, 1]. Other rewards are R times such rewards, which scales
    gradient and std by R: the bound is then 6 gamma R (STD / R)^(2/3).

    Args:
        jacobian_norm: [B] gamma.
        reward_std: [B] standard deviation of the reward.
        largest_reward: R, the largest absolute reward; below 1 it counts as 1.

    Returns:
        [B].
    """
    scale = max(1.0, largest_reward) ** (1 / 3)
    bound: Tensor = 6 * _L_OUT * scale * jacobian_norm * reward_std.pow(2 / 3)
    return bound


def value_gradient_norm(
    network: Network, params: Params, inputs: Inputs, logits: Tensor, rewards: Tensor
) -> Tensor:
    """Return the norm of the gradient of V(x) in all parameters, ||J^T pi (r - V)||.

    Args:
        network: see the module.
        params: tensors by name.
        inputs: [B, ...], or a list of B.
        logits: [B, C] the network's outputs for them, float64.
        rewards: [B, C].

    Returns:
        [B] float64.
    """
    check_shape("rewards", rewards, logits.shape)
    probabilities = logits.softmax(-1)
    value = (probabilities * rewards).sum(-1, keepdim=True)  # [B, 1]
    in_logits = probabilities * (rewards - value)  # [B, C]
    length: Tensor = in_logits.norm(dim=-1)  # [B]
    # The direction alone goes through the network: a vanishing gradient would leave float32.
    direction = _unit(in_logits)

    def pulled_norm(vector: Tensor, x: ModelInputs) -> Tensor:
        gradient = _pull(network, params, x, vector)
        norm: Tensor = torch.stack(
            [torch.linalg.vector_norm(part, dtype=torch.float64) for part in gradient.values()]
        ).norm()
        return norm

    return length * _over_inputs(pulled_norm, params, direction, inputs)


def jacobian_norm(
    network: Network,
    params: Params,
    inputs: Inputs,
    *,
    num_classes: int,
    tolerance: float = 1e-4,
) -> Tensor:
    """Return the spectral norm of the Jacobian of the logits in the parameters, gamma.

    It uses power iteration v -> J (J^T v) with vectors of C numbers. The largest eigenvalues of J
    J^T are close together, where the last iterate alone would need hundreds of products. Therefore
    all iterates are kept, and the estimate is the largest eigenvalue of J J^T on their span
    (Rayleigh and Ritz; this is Lanczos' method). After C products the span is the whole space and
    the estimate is exact.

    Args:
        network: see the module.
        params: tensors by name.
        inputs: [B, ...], or a list of B.
        num_classes: number of classes, C.
        tolerance: an estimate of lambda = gamma^2 with the unit vector v is good enough once
            ||J J^T v - lambda v|| <= tolerance lambda. An eigenvalue is then at most that far
            away, so that gamma's relative error is at most half of it, and mostly its square.

    Returns:
        [B] float64, from below.
    """

    def gram(vector: Tensor, x: ModelInputs) -> Tensor:
        # J^T v is linear in v, so its own vector-Jacobian product is J: no forward mode is needed.
        gradient, push, *_ = vjp(lambda v: _pull(network, params, x, v), vector)
        image: Tensor = push(gradient)[0]
        return image

    def product(vectors: Tensor) -> Tensor:
        return _over_inputs(gram, params, vectors, inputs)

    generator = torch.Generator().manual_seed(0)
    start = _unit(torch.randn(num_classes, dtype=torch.float64, generator=generator))
    device = next(iter(params.values())).device
    largest = _largest_eigenvalue(product, start.to(device).expand(len(inputs), -1), tolerance)
    return largest.clamp(min=0).sqrt()


@contextmanager
def as_network(model: nn.Module, temperature: float) -> Iterator[tuple[Network, Params]]:
    """Provide, inside the block, a model in evaluation mode as a network, and its parameters.

    The parameters are the model's own tensors, without a graph. Each layer is back in its own
    mode afterwards, and nothing else of the model is touched.
    """
    params = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    modes = {module: module.training for module in model.modules()}

    def network(values: Params, inputs: ModelInputs) -> Tensor:
        logits: Tensor = functional_call(model, values, (inputs,))
        return logits / temperature

    model.eval()
    try:
        # Of the kinds of attention, only the one made of basic operations can be derived twice.
        with sdpa_kernel(SDPBackend.MATH):
            yield network, params
    finally:
        for module, mode in modes.items():
            module.training = mode


def _largest_eigenvalue(
    product: Callable[[Tensor], Tensor], vector: Tensor, tolerance: float
) -> Tensor:
    """Return [B] the largest eigenvalue of each symmetric matrix, given by products."""
    num_inputs, size = vector.shape
    span = images = vector.new_empty(num_inputs, 0, size)  # [B, iterates, C]
    while True:
        image = product(vector)
        span = torch.cat([span, vector[:, None]], 1)
        images = torch.cat([images, image[:, None]], 1)
        values, vectors = torch.linalg.eigh(_symmetric(span @ images.mT))
        top = vectors[:, None, :, -1]  # [B, 1, iterates]
        largest: Tensor = values[:, -1]  # [B]
        residual = (top @ images).squeeze(1) - largest[:, None] * (top @ span).squeeze(1)
        done = residual.norm(dim=-1) <= tolerance * largest
        if done.all() or span.shape[1] == size:
            return largest
        # Twice: what is left of an iterate inside the span already is mostly rounding.
        vector = _unit(_outside(_unit(_outside(image, span)), span))


def _pull(network: Network, params: Params, x: ModelInputs, vector: Tensor) -> Params:
    """Return J^T vector for one input: x a batch of one, vector [C]."""
    logits, pull, *_ = vjp(lambda p: network(p, x)[0], params)
    gradient: Params = pull(vector.to(logits.dtype))[0]
    return gradient


def _over_inputs(
    function: Callable[[Tensor, ModelInputs], Tensor],
    params: Params,
    vectors: Tensor,
    inputs: Inputs,
) -> Tensor:
    """Return ``function`` of each vector and input (a batch of one), stacked.

    Small inputs are computed several at a time. Inputs in a list are computed one by one, because
    their networks may branch on values, as BERT's masks do.
    """
    size = _NUMBERS_AT_A_TIME // max(1, sum(p.numel() for p in params.values()))
    if isinstance(inputs, Tensor):
        if size > 1:
            mapped = vmap(lambda v, x: function(v, x[None]), chunk_size=size)
            result: Tensor = mapped(vectors, inputs)
            return result
        inputs = inputs.split(1)
    return torch.stack([function(v, x) for v, x in zip(vectors, inputs, strict=True)])


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors scaled to length 1; zero stays zero."""
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.where(length > 0, 1.0)


def _outside(vectors: Tensor, span: Tensor) -> Tensor:
    """Return the part of [B, C] orthogonal to the orthonormal rows of [B, iterates, C]."""
    inside: Tensor = (span @ vectors[..., None]).mT @ span  # [B, 1, C]
    return vectors - inside.squeeze(1)


def _symmetric(matrices: Tensor) -> Tensor:
    """Return matrices without the asymmetry of rounding."""
    return (matrices + matrices.mT) / 2
