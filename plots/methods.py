"""How runs are named and coloured by what they optimised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """How the runs of one ``opt_method`` are shown."""

    label: str
    color: str
    marker: str


METHODS = {
    "supervised": Method("SFT", "#0072B2", "o"),
    "expected_reinforce": Method("RFT expected", "#D55E00", "s"),
    "reinforce": Method("RFT sampled", "#009E73", "^"),
}
"""In the order of legends; colours of Okabe and Ito."""


def method(name: str) -> Method:
    """How the runs with this ``opt_method`` are shown."""
    return METHODS.get(name) or Method(name, "#000000", "D")


def in_order(names: list[str]) -> list[str]:
    """The names in the order of `METHODS`, each once; others follow as they came."""
    return [name for name in dict.fromkeys([*METHODS, *names]) if name in names]
