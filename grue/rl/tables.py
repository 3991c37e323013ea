"""Tables of functions that a plan names, read without torch: policy losses and aggregations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from common.custom.signatures import check_function
from common.custom.user_code import CUSTOM, naming
from common.errors import UserError
from common.registry import import_part


class FunctionTable(Mapping[str, Callable[..., Any]]):
    """Functions of equal parameters by name, each imported when it is asked for.

    ``"custom:package.module:name"`` is a name too, that of a user's own function.
    """

    def __init__(self, parameters: tuple[str, ...], paths: Mapping[str, str]) -> None:
        """Set the names of the parameters, in order, and the import paths of the functions."""
        self._parameters = parameters
        self._paths = dict(paths)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Return the function called ``name``; errors of a user's own tell its name and line.

        Raises:
            UserError: a user's function cannot be imported, or takes other arguments.
        """
        if not name.startswith(CUSTOM):
            built_in: Callable[..., Any] = import_part(self._paths[name])
            return built_in
        own: Callable[..., Any] = import_part(name.removeprefix(CUSTOM))
        check_function(own, name, *self._parameters)

        def told(*values: Any) -> Any:
            with naming(name):
                return own(*values)

        return told

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def checked_result(name: str, result: Any, shape: Sequence[int]) -> Any:
    """Return what the function called ``name`` gave, a tensor of a shape.

    Raises:
        UserError: it is no tensor, or has another shape.
    """
    is_tensor = hasattr(result, "requires_grad")
    if not is_tensor or list(result.shape) != list(shape):
        given = f"numbers of shape {list(result.shape)}" if is_tensor else type(result).__name__
        raise UserError(f"'{name}' returned {given}; return a tensor of shape {list(shape)}")
    return result


POLICY_LOSSES = FunctionTable(
    ("log_probs", "ratios", "advantages", "clip_range", "clip_range_high"),
    {
        "reinforce": "grue.rl.policy_losses:reinforce",
        "clipped": "grue.rl.policy_losses:clipped",
        "cispo": "grue.rl.policy_losses:cispo",
    },
)
"""Functions of log-probabilities, ratios and advantages [n, T] and both clip ranges, which return
the loss [n, T] of each token."""

AGGREGATIONS = FunctionTable(
    ("lengths", "longest"),
    {
        "token_mean": "grue.rl.aggregation:token_mean",
        "sequence_mean": "grue.rl.aggregation:sequence_mean",
        "sequence_sum": "grue.rl.aggregation:sequence_sum",
        "sequence_sum_norm": "grue.rl.aggregation:sequence_sum_norm",
        "prompt_mean": "grue.rl.aggregation:prompt_mean",
    },
)
"""Functions of lengths [B, K] and the longest allowed length, which return the weights [B, K] of a
token of each response."""
