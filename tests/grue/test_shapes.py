"""Pure functions refuse tensors of other shapes, which would be stretched to each other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from grue.algorithms.fisher import softmax_fisher, split
from grue.rl import (
    advantages,
    conjugate_gradient,
    gradient_noise,
    kl,
    losses,
    reward_stats,
    token_positions,
    whitening,
)
from grue.rl import numeric_equality as equality

MODULES = [advantages, equality, kl, losses, token_positions, whitening]

M = torch.arange(4.0)
N_T, ALL = torch.rand(4, 3), torch.ones(4, 3, dtype=torch.bool)
N_V = torch.rand(4, 5)
N_K = np.random.default_rng(0).random((4, 3))
OF_CRITIC = {"values": M, "returns": M, "old_values": M, "clip_range": 0.2}
DISCOUNTS = {"gamma": 0.9, "gae_lambda": 0.95}

CASES: dict[Callable[..., Any], dict[str, Any]] = {
    losses.policy_gradient_loss: {"log_probs": M, "advantages": M},
    losses.value_loss: OF_CRITIC,
    losses.clipped_value_loss: OF_CRITIC,
    losses.explained_variance: {"values": M, "returns": M},
    losses.returns_vary: {"values": M, "returns": M},
    kl.kl_k1: {"log_probs": M, "ref_log_probs": M},
    kl.kl_k2: {"log_probs": M, "ref_log_probs": M},
    kl.kl_k3: {"log_probs": M, "ref_log_probs": M},
    kl.probability_ratio: {"log_probs": M, "other_log_probs": M},
    kl.kl_full: {"logits": N_V, "ref_logits": N_V},
    kl.beyond_rounding: {"kl": M, "log_probs": M, "ref_log_probs": M},
    equality.minus: {"values": M, "baseline": M},
    advantages.generalized_advantages: {
        "rewards": N_T, "values": N_T, "mask": ALL, "bootstrap": M, **DISCOUNTS,
    },
    advantages.cumulative_means: {"scores": M, "total": torch.tensor(1.0)},
    advantages.uncertainty_weighted: {"advantages": M, "stds": M},
    advantages.value_after: {"values": N_T, "response_mask": ALL, "train_mask": ALL},
    advantages.less_mean_output: {"task": N_T, "response_mask": ALL},
    advantages.estimate_advantages: {
        "rewards": N_T, "task": N_T, "penalty": N_T, "pg_kl_penalty": N_T, "values": N_T,
        "response_mask": ALL, "train_mask": ALL, **DISCOUNTS,
    },
    whitening.whitened: {"values": N_T, "mask": ALL},
    whitening.whitened_estimates: {
        "task": N_T, "penalties": N_T, "values": N_T, "mask": ALL, "whiten_rewards": True,
        **DISCOUNTS,
    },
    token_positions.first_tokens: {"counts": torch.tensor([1, 3]), "width": 3},
    token_positions.chosen: {"values": N_T, "mask": ALL},
    token_positions.put_back: {"counted": torch.rand(12), "mask": ALL},
    conjugate_gradient.conjugate_gradient: {"product": lambda v: 2 * v, "target": M,
                                            "max_steps": 2},
    reward_stats.reward_std: {"rewards": N_K, "ddof": 1},
    reward_stats.zero_std: {"rewards": N_K, "tol": None},
    reward_stats.prob_zero_std: {"rewards": N_K, "group_size": 2, "tol": None},
    reward_stats.per_input: {"rewards": N_K, "ddof": 1, "zero_tol": None},
    reward_stats.summary: {
        "rewards": N_K, "ddof": 1, "zero_tol": None, "low_std": 0.1, "group_sizes": (),
    },
    softmax_fisher: {"logits": N_V, "tangent": N_V},
    split: {"vector": M, "weights": [torch.rand(1, 2), torch.rand(2)]},
}  # fmt: skip
"""A call of each function that fits."""

UNCHECKED = {equality.are_equal, equality.centred, equality.scale_of, token_positions.places,
             token_positions.taken}  # fmt: skip
"""They take one tensor of any shape, or one and places in it."""


def is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def calls() -> Iterator[Any]:
    """Each function with the name of each of its tensors."""
    for function, arguments in CASES.items():
        for name, value in arguments.items():
            further_axes = (function, name) == (token_positions.chosen, "values")
            if is_array(value) and not further_axes:
                yield pytest.param(function, name, id=f"{function.__name__}-{name}")


@pytest.mark.parametrize(("function", "name"), list(calls()))
def test_a_tensor_with_an_axis_too_many_is_named(function: Callable[..., Any], name: str) -> None:
    arguments = CASES[function]
    function(**arguments)
    first = next(key for key, value in arguments.items() if is_array(value))
    # To the first tensor others are compared, where it may have any shape.
    named = name if name != first else ".*"
    with pytest.raises(ValueError, match=rf"'{named}' has shape \[.*\], expected \["):
        function(**{**arguments, name: arguments[name][..., None]})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_function_of_tensors_is_left_out(module: ModuleType) -> None:
    functions = {
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions - CASES.keys() - UNCHECKED == set()


def test_a_product_and_a_loss_of_another_shape_are_named() -> None:
    with pytest.raises(ValueError, match="'product' has shape"):
        conjugate_gradient.conjugate_gradient(lambda v: v[:, None], M, max_steps=2)
    weight = torch.nn.Parameter(M)
    with pytest.raises(ValueError, match="'losses' has shape"):
        gradient_noise.gradient_moments([[weight], [weight]], [weight])
