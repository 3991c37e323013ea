"""Model of ``alg`` in finetuning: that of supervised finetuning, or of one algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, SerializeAsAny, Tag

from common.config.base import Config
from grue.algorithms import find
from grue.algorithms.any_alg import BUILT_IN, id_of
from grue.algorithms.config import ReinforcementAlg
from grue.parts.custom import OrCustom
from grue.supervised.config import SupervisedAlg

SUPERVISED = "supervised"
"""Tag of supervised finetuning."""


def tag(alg: Any) -> str:
    """Return the tag of an algorithm's keys.

    The published rule searches "supervised" in the id.
    """
    name = id_of(alg)
    return SUPERVISED if SUPERVISED in name else name


class _ById:
    """Note on ``alg`` that finds the model for messages about its keys."""

    def chosen(self, value: Any) -> type[Config] | None:
        """Return the model of a built-in algorithm; None for any other."""
        name = tag(value)
        return SupervisedAlg if name == SUPERVISED else BUILT_IN.get(name)


if TYPE_CHECKING:
    AnyAlg = SupervisedAlg | ReinforcementAlg
else:
    AnyAlg = Annotated[
        Union[
            Annotated[SupervisedAlg, Tag(SUPERVISED)],
            *(Annotated[model, Tag(name)] for name, model in BUILT_IN.items()),
        ],
        Discriminator(tag),
        OrCustom(ReinforcementAlg, find),
        _ById(),
        SerializeAsAny(),
    ]
