"""Names and colours of runs by their optimisation method."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """Label and colour of the runs of one ``opt_method``."""

    label: str
    color: str
    marker: str


METHODS = {
    "supervised": Method("SFT", "#0072B2", "o"),
    "expected_reinforce": Method("RFT expected", "#D55E00", "s"),
    "reinforce": Method("RFT sampled", "#009E73", "^"),
}
"""Methods in the order of legends, with the colours of Okabe and Ito."""


def method(name: str) -> Method:
    """Return the label and colour of the runs with this ``opt_method``."""
    return METHODS.get(name) or Method(name, "#000000", "D")


def in_order(names: list[str]) -> list[str]:
    """Return the names in the order of `METHODS`, each once.

    Other names follow in their own order.
    """
    return [name for name in dict.fromkeys([*METHODS, *names]) if name in names]
