"""Language models as policies: text in, tokens and log-probabilities out.

A configuration names its kind; the class is imported when it is used.
"""

from __future__ import annotations

from typing import Any

from common.custom.signatures import check_part
from common.registry import Registry, import_part

_POLICY = "grue.policies.policy:Policy"

POLICIES: Registry[str] = Registry("policy")
"""Import paths of classes like `grue.policies.policy.Policy`, by name."""

for _name in ("causal_lm_actor_critic_policy", "seq2seq_lm_actor_critic_policy",
              "maskable_causal_lm_actor_critic_policy",
              "maskable_seq2seq_lm_actor_critic_policy"):  # fmt: skip
    POLICIES.register(_name)(_POLICY)


def find(name: str) -> Any:
    """Return the class of the policy called ``name``.

    Raises:
        UserError: there is none, or one of the user's is no policy or lacks a method.
    """
    found: Any = POLICIES.get(name)
    if isinstance(found, str):
        return import_part(found)
    check_part(found, import_part(_POLICY))
    return found
