"""Algorithms that a configuration may name; each is imported when it is used."""

from __future__ import annotations

from typing import Any

from common.custom.signatures import check_part
from common.errors import UserError
from common.registry import Registry, import_part

ALGORITHMS: Registry[str] = Registry("algorithm")
"""Import paths of classes like `grue.algorithms.algorithm.Algorithm`, by name."""

for _name, _path in {
    "a2c": "grue.algorithms.a2c:A2c",
    "nlpo": "grue.algorithms.nlpo:Nlpo",
    "ppo": "grue.algorithms.ppo:Ppo",
    "ppo_human_preferences": "grue.algorithms.ppo_human_preferences:HumanPreferencesPpo",
    "ppo_kl": "grue.algorithms.ppo:Ppo",
    "reinforce": "grue.algorithms.reinforce:Reinforce",
    "trpo": "grue.algorithms.trpo:Trpo",
}.items():
    ALGORITHMS.register(_name)(_path)


def find(name: str) -> Any:
    """Return the class of the algorithm called ``name``.

    Raises:
        UserError: there is no such algorithm, or a user's class is no algorithm or lacks a method.
    """
    found: Any = ALGORITHMS.get(name)
    if isinstance(found, str):
        return import_part(found)
    algorithm = import_part("grue.algorithms.algorithm:Algorithm")
    check_part(found, algorithm)
    if not hasattr(found, "Args"):
        raise UserError(f"{found.__qualname__} needs 'Args', the model of its keys")
    return found
