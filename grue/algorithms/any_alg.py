"""Models of ``alg``: one for each algorithm, built in or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, SerializeAsAny, Tag

from grue.algorithms import ALGORITHMS, find
from grue.algorithms.config import ReinforcementAlg
from grue.parts.custom import OrCustom, with_args


def built_in(name: str) -> type[ReinforcementAlg]:
    """Return the model of ``alg`` for the built-in algorithm called ``name``."""
    title = "".join(part.capitalize() for part in name.split("_"))
    return with_args(ReinforcementAlg, f"{title}Alg", name, ALGORITHMS.get(name).args)


BUILT_IN: dict[str, type[ReinforcementAlg]] = {name: built_in(name) for name in ALGORITHMS.names()}
"""Models of all built-in algorithms, by name."""


def id_of(alg: Any) -> str:
    """Return the ``id`` of an algorithm's keys, which may be invalid in any way; "" for none."""
    return str(alg.get("id", "") if isinstance(alg, dict) else getattr(alg, "id", ""))


if TYPE_CHECKING:
    AnyReinforcementAlg = ReinforcementAlg
else:
    AnyReinforcementAlg = Annotated[
        Union[tuple(Annotated[model, Tag(name)] for name, model in BUILT_IN.items())],  # noqa: UP007
        Discriminator(id_of),
        OrCustom(ReinforcementAlg, find),
        SerializeAsAny(),
    ]
