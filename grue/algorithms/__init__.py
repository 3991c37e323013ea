"""Algorithms that a configuration may name; each class is imported when it is used.

A built-in algorithm is one class in a module of its own, settings in `grue.algorithms.args`, and
one line here; see `grue.algorithms.algorithm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.custom.signatures import check_part
from common.custom.user_code import CUSTOM
from common.errors import UserError
from common.registry import Registry, import_part
from grue.algorithms import args
from grue.algorithms.config import AlgorithmArgs


@dataclass(frozen=True)
class BuiltIn:
    """A built-in algorithm, as a plan knows it without torch."""

    args: type[AlgorithmArgs]
    """Model of its settings, the ``Args`` of its class."""
    path: str
    """Import path of its class, a subclass of `grue.algorithms.algorithm.Algorithm`."""


ALGORITHMS: Registry[BuiltIn] = Registry("algorithm")
_CRITIC_FREE = "grue.algorithms.critic_free:CriticFree"

for _name, _args, _path in (
    ("ppo", args.PpoArgs, "grue.algorithms.ppo:Ppo"),
    ("ppo_kl", args.PpoArgs, "grue.algorithms.ppo:Ppo"),
    ("nlpo", args.NlpoArgs, "grue.algorithms.nlpo:Nlpo"),
    ("ppo_human_preferences", args.HumanPreferencesPpoArgs,
     "grue.algorithms.ppo_human_preferences:HumanPreferencesPpo"),
    ("a2c", args.A2cArgs, "grue.algorithms.a2c:A2c"),
    ("trpo", args.TrpoArgs, "grue.algorithms.trpo:Trpo"),
    ("reinforce", args.ReinforceArgs, "grue.algorithms.reinforce:Reinforce"),
    ("grpo", args.GrpoArgs, _CRITIC_FREE),
    ("dr_grpo", args.DrGrpoArgs, _CRITIC_FREE),
    ("dapo", args.DapoArgs, _CRITIC_FREE),
    ("rloo", args.RlooArgs, _CRITIC_FREE),
    ("reinforce_plus_plus", args.ReinforcePlusPlusArgs, _CRITIC_FREE),
    ("reinforce_plus_plus_baseline", args.ReinforcePlusPlusBaselineArgs, _CRITIC_FREE),
    ("gspo", args.GspoArgs, _CRITIC_FREE),
    ("rejection_sampling", args.RejectionSamplingArgs,
     "grue.algorithms.rejection_sampling:RejectionSampling"),
):  # fmt: skip
    ALGORITHMS.register(_name)(BuiltIn(_args, _path))

_MOVED = {
    "needs_critic": "'needs_values' of the RolloutSpec that its Args return",
    "whole_outputs": "'num_steps' = None of the RolloutSpec that its Args return",
    "shares_work": "'supports_data_parallel'",
}
"""Attributes of earlier users' classes, and their replacements."""


def find(name: str) -> Any:
    """Return the class of the algorithm called ``name``.

    Raises:
        UserError: there is no such algorithm, or a user's class is no algorithm, lacks a method, or
            has settings that are no `AlgorithmArgs`.
    """
    found: Any = ALGORITHMS.get(name)
    if not name.startswith(CUSTOM):
        return import_part(found.path)
    algorithm = import_part("grue.algorithms.algorithm:Algorithm")
    check_part(found, algorithm)
    called = found.__qualname__
    if not hasattr(found, "Args"):
        raise UserError(f"{called} needs 'Args', the model of its keys")
    check_part(found.Args, AlgorithmArgs, "; derive it from that, or from the settings of a "
               "built-in algorithm, and return in rollout_spec() what it needs of "
               "rollouts")  # fmt: skip
    for old, new in _MOVED.items():
        if hasattr(found, old):
            raise UserError(f"{called} has '{old}', which is now said by {new}; change it")
    return found
