"""What the theory module measures equals explicit Jacobians, and the theorem holds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sft_vs_rft import objectives
from sft_vs_rft.models.build import mlp
from sft_vs_rft.theory import bound as theory

SHAPES = {  # inputs, classes, factor of the last layer's weights
    "usual": (6, 5, 1.0),
    "peaked": (6, 5, 300.0),
    "two classes": (4, 2, 1.0),
    "one input": (1, 5, 1.0),
    "one class": (3, 1, 1.0),
    "more classes than units": (3, 30, 1.0),
}


class Case:
    """A float64 MLP with inputs and rewards."""

    def __init__(self, kind: str) -> None:
        num_inputs, num_classes, factor = SHAPES[kind]
        torch.manual_seed(0)
        self.model = mlp((7,), (6, 5), num_classes).double()
        with torch.no_grad():
            self.model[-1].weight.mul_(factor)
        self.inputs = torch.randn(num_inputs, 7, dtype=torch.float64)
        self.rewards = torch.rand(num_inputs, num_classes, dtype=torch.float64) * 2 - 1

    def jacobians(self, temperature: float = 1.0) -> Tensor:
        """[B, C, P], row by row from autograd."""
        params = list(self.model.parameters())
        return torch.stack(
            [
                torch.stack([flat(torch.autograd.grad(z, params, retain_graph=True)) for z in row])
                for row in self.model(self.inputs) / temperature
            ]
        )

    def measured(self, temperature: float = 1.0) -> theory.Bounds:
        with theory.as_network(self.model, temperature) as (network, params):
            return theory.measure(network, params, self.inputs, self.rewards)


def flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@pytest.fixture(params=SHAPES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradient_norm_is_that_of_autograd(case: Case, temperature: float) -> None:
    params = list(case.model.parameters())
    value = objectives.expected_reward(case.model(case.inputs) / temperature, case.rewards)
    expected = [flat(torch.autograd.grad(v, params, retain_graph=True)).norm() for v in value]
    measured = case.measured(temperature)
    torch.testing.assert_close(measured.grad_norm, torch.stack(expected), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_jacobian_norm_is_the_largest_singular_value(case: Case, temperature: float) -> None:
    expected = torch.linalg.matrix_norm(case.jacobians(temperature), ord=2)
    measured = case.measured(temperature).jacobian_norm
    torch.testing.assert_close(measured, expected, rtol=1e-7, atol=0)


def test_the_tolerance_bounds_the_error_from_below() -> None:
    case = Case("more classes than units")
    exact = torch.linalg.matrix_norm(case.jacobians(), ord=2)
    with theory.as_network(case.model, 1.0) as (network, params):
        for tolerance in (0.1, 1e-2, 1e-12):
            rough = theory.jacobian_norm(
                network, params, case.inputs, num_classes=30, tolerance=tolerance
            )
            error = 1 - rough / exact
            assert (error >= -1e-12).all()
            assert (error <= max(tolerance, 1e-12)).all()


def test_equal_singular_values_and_none_at_all() -> None:
    inputs = torch.randn(3, 4, dtype=torch.float64)
    linear = nn.Linear(4, 5).double()  # J J^T = (|x|^2 + 1) I
    with theory.as_network(linear, 1.0) as (network, params):
        norm = theory.jacobian_norm(network, params, inputs, num_classes=5)
        torch.testing.assert_close(norm.square(), inputs.square().sum(1) + 1, rtol=1e-12, atol=0)
        zero = theory.jacobian_norm(lambda p, x: network(p, x) * 0.0, params, inputs, num_classes=5)
        assert zero.tolist() == [0.0] * 3


def test_both_bounds_hold_for_every_input(case: Case) -> None:
    measured = case.measured()
    with torch.no_grad():
        in_logits = objectives.expected_gradient_norm(case.model(case.inputs), case.rewards)
    slack = 1 + 1e-9
    assert (measured.grad_norm <= measured.bound * slack).all()
    assert (measured.grad_norm <= measured.jacobian_norm * in_logits * slack).all()
    assert (measured.grad_norm <= measured.jacobian_norm * measured.reward_std * slack).all()


def test_the_bound_is_the_theorems_and_scales_with_the_rewards() -> None:
    gamma, std = torch.tensor([2.0]).double(), torch.tensor([0.125]).double()
    assert theory.gradient_bound(gamma, std).item() == pytest.approx(6 * 2 / 4)
    for factor in (3.0, 10.0):  # V, std and bound of rewards R times as large
        scaled = theory.gradient_bound(gamma, factor * std, largest_reward=factor)
        assert scaled.item() == pytest.approx(factor * 6 * 2 / 4)
    assert theory.gradient_bound(gamma, std, largest_reward=0.1).item() == pytest.approx(3)


def test_a_vanishing_gradient_does_not_leave_float32() -> None:
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([60.0, -60.0]))
    rewards = torch.tensor([[0.0, 1.0]])
    with theory.as_network(model, 1.0) as (network, params):
        measured = theory.measure(network, params, torch.ones(1, 1), rewards)
    # J J^T = 2 I, and pi (r - V) = p (1 - p) (-1, 1) with p = exp(-120)
    assert measured.grad_norm.item() == pytest.approx(2 * math.exp(-120), rel=1e-5, abs=0)
    assert measured.reward_std.item() == pytest.approx(math.exp(-60), rel=1e-5, abs=0)


class Mixed(nn.Module):
    """Convolution, BatchNorm, dropout, attention, and a layer that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.normalisation = nn.BatchNorm2d(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.normalisation(self.convolution(inputs)).relu().flatten(2).mT[:, None]
        seen = self.frozen(maps)  # contiguous, as attention's fast kernels want it
        mixed = nn.functional.scaled_dot_product_attention(seen, seen, seen)
        logits: Tensor = self.last(self.dropout(mixed.mean((1, 2))))
        return logits


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_measuring_touches_nothing(monkeypatch: pytest.MonkeyPatch, one_at_a_time: bool) -> None:
    if one_at_a_time:
        monkeypatch.setattr(theory, "_NUMBERS_AT_A_TIME", 1)
    torch.manual_seed(0)
    model = Mixed().double()
    model.normalisation.eval()  # a mode of its own
    inputs = torch.randn(4, 1, 5, 5, dtype=torch.float64)
    rewards = torch.rand(4, 3, dtype=torch.float64)
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with theory.as_network(model, 1.0) as (network, params):
        measured = theory.measure(network, params, inputs, rewards)
        jacobian = torch.func.jacrev(lambda p: functional_call(model, p, (inputs,)))(params)

    assert "frozen.weight" not in params
    explicit = torch.cat([part.flatten(2) for part in jacobian.values()], dim=2)  # [B, C, P]
    torch.testing.assert_close(
        measured.jacobian_norm, torch.linalg.matrix_norm(explicit, ord=2), rtol=1e-7, atol=0
    )
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not measured.grad_norm.requires_grad


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("usual")
    whole = case.measured()
    size = sum(p.numel() for p in case.model.parameters())
    for numbers in (1, 4 * size):  # one input at a time; 4 and then 2
        monkeypatch.setattr(theory, "_NUMBERS_AT_A_TIME", numbers)
        parts = case.measured()
        torch.testing.assert_close(parts.grad_norm, whole.grad_norm, rtol=1e-12, atol=0)
        torch.testing.assert_close(parts.jacobian_norm, whole.jacobian_norm, rtol=1e-9, atol=0)


def test_modes_come_back_after_an_error() -> None:
    model = nn.Dropout(0.5)
    with pytest.raises(ZeroDivisionError), theory.as_network(model, 1.0):
        raise ZeroDivisionError
    assert model.training
