"""Models of ``alg``: one for each algorithm, built in or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Field, SerializeAsAny, Tag

from common.config.base import Config
from grue.algorithms import ALGORITHMS, find
from grue.algorithms.config import ReinforcementAlg
from grue.algorithms.kl_config import KlDivConfig
from grue.parts.custom import OrCustom, derived_model, with_args


def built_in(name: str) -> type[ReinforcementAlg]:
    """Return the model of ``alg`` for the built-in algorithm called ``name``."""
    title = "".join(part.capitalize() for part in name.split("_"))
    args = ALGORITHMS.get(name).args
    alg = with_args(ReinforcementAlg, f"{title}Alg", name, args)
    if args.kl_div_defaults is None:
        return alg
    keys = _with_defaults(KlDivConfig, f"{title}KlDiv", args.kl_div_defaults)
    kl_div = (keys, Field(default_factory=keys))
    return derived_model(alg, f"{title}Alg", alg.__doc__, kl_div=kl_div)


def _with_defaults(base: type[Config], title: str, defaults: Mapping[str, Any]) -> type[Config]:
    """Return ``base``, under the title, with other defaults of some keys."""
    known = base.model_fields
    fields: dict[str, Any] = {
        name: (known[name].rebuild_annotation(), value) for name, value in defaults.items()
    }
    return derived_model(base, title, base.__doc__, **fields)


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
