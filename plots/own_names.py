"""Names of the metrics of algorithms that earlier versions named like PPO's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_ONCE_PPO = ("a2c", "nlpo")
"""Algorithms whose metrics earlier versions, and the published files, name ``ppo/...``."""


def own_name(metric: str, method: str) -> str:
    """Return the name of a metric of an algorithm, for that of earlier versions."""
    prefix = "ppo/"
    is_renamed = method in _ONCE_PPO and metric.startswith(prefix)
    return f"{method}/{metric.removeprefix(prefix)}" if is_renamed else metric


def with_own_names(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the table with the columns of earlier versions renamed.

    A run that was continued after the change has both; each row then has one of them.
    """
    renamed = table.rename(columns=lambda name: own_name(name, method))
    if renamed.columns.is_unique:
        return renamed
    by_name = renamed.T.groupby(level=0, sort=False)
    return by_name.first().T
