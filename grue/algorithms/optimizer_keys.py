"""Library keys ``optimizer_kwargs``: their names, types and values."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import get_type_hints

import torch

from common.config.base import Config
from common.config.resolve import resolve
from common.errors import Problem
from grue.algorithms.optimizers import OPTIMIZERS
from grue.parts.free_keys import keys_of
from grue.policies.config import PolicyArgs

OPTIMIZER_KWARGS = "alg.policy.args.optimizer_kwargs"
_ELSEWHERE = {"lr": "alg.args.learning_rate", "weight_decay": "alg.policy.args.weight_decay"}
"""Arguments of the optimizer that have a key of their own."""


def problems_of_optimizer(args: PolicyArgs) -> Iterator[Problem]:
    """Yield the problems of the optimizer's arguments."""
    given = args.optimizer_kwargs
    own = {name: value for name, value in given.items() if name not in _ELSEWHERE}
    found = [
        Problem(f"has a key of its own, '{key}'; give it there", name, given[name])
        for name, key in _ELSEWHERE.items()
        if name in given
    ]
    found += resolve(_of_optimizer(), own)[1]
    yield from (problem.below(OPTIMIZER_KWARGS) for problem in found)
    if not found:
        try:
            weight = torch.zeros(1, requires_grad=True)
            OPTIMIZERS[args.optimizer]([weight], lr=1.0, **{"fused": True, **own})
        except (TypeError, ValueError, RuntimeError) as error:
            yield Problem(f"the optimizer refuses it: {error}", OPTIMIZER_KWARGS, given)


@functools.cache
def _of_optimizer() -> type[Config]:
    """Return the optimizer's arguments, without those with a key elsewhere."""
    hints = get_type_hints(torch.optim.AdamW.__init__)
    left_out = {"params", "return", *_ELSEWHERE}
    return keys_of({name: hint for name, hint in hints.items() if name not in left_out})
