"""Users' own metrics: a class like the built-in ones, or a plain function."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from common.custom.signatures import check_function, check_part
from common.errors import UserError
from grue.metrics.metric import Metric, NoArgs, Scores
from grue.parts.rl4lms_classes import what_to_change
from grue.parts.user_function import PARAMETERS, UserFunction, name_of, of_columns, scores_of
from grue.texts import Texts


class FunctionMetric(Metric[NoArgs]):
    """A user's function that scores outputs, under ``custom/<name of the function>``."""

    function: UserFunction

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] the function's numbers."""
        numbers = scores_of(
            of_columns(self.function), texts, per_token=False, name=name_of(self.function)
        )
        return {self.names[0]: numbers}


def as_metric(part: Any) -> type[Metric[Any]]:
    """Return the metric class of a user's object: the class itself, or one around a function.

    Raises:
        UserError: it is neither, or does not take the arguments of one.
    """
    if isinstance(part, type):
        check_part(part, Metric, what_to_change(part))
        return part
    if not callable(part):
        raise UserError(f"expected a function or a metric class, not {part!r}")
    check_function(part, name_of(part), *PARAMETERS)
    return _around(part)


@functools.cache
def _around(function: UserFunction) -> type[FunctionMetric]:
    name = getattr(function, "__name__", type(function).__name__)
    members = {"function": staticmethod(function), "names": (f"custom/{name}",)}
    return type("FunctionMetric", (FunctionMetric,), members)
