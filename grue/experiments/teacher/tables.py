"""Tables of a run that measures reward models: numbers of each reward, and of each prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.experiments.teacher import measures
from grue.experiments.teacher.config import TRUTH
from grue.experiments.teacher.measures import Measure, Outputs
from grue.rl.reward_accuracy import Comparisons, effective_number
from grue.rl.reward_variance import Normalization

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
REWARD = "rewards/"
"""Prefix of the columns of rewards, before their names."""


_TOLD = {
    "reward_variance": "variance",
    "on_policy/accuracy": "accuracy on policy",
    "on_policy/harm_aware_accuracy": "harm-aware",
    "off_policy/accuracy": "accuracy off policy",
    "off_policy/harm_aware_accuracy": "harm-aware",
}
"""Measures that are logged, in words."""


@dataclass(frozen=True)
class OfReward:
    """A measure of one reward, with the rows of the inputs that its numbers by prompt belong to."""

    reward: str
    measure: Measure
    rows: Sequence[int]


class Grid:
    """Columns of outputs as arrays [N, K]: a row per input, NaN where it has fewer outputs."""

    def __init__(self, table: pd.DataFrame) -> None:
        """Order the outputs of a table by input and ``sample_id``, both from 0."""
        self.inputs, rows = np.unique(table["row"], return_inverse=True)
        self._places = rows, table["sample_id"].to_numpy()
        self._table = table
        self._shape = len(self.inputs), 1 + int(table["sample_id"].max()) if len(table) else 0
        self.names = [TRUTH, *(str(name) for name in table.columns if name.startswith(REWARD))]

    def column(self, name: str) -> Floats:
        """Return [N, K] a column's numbers."""
        found = np.full(self._shape, np.nan)
        found[self._places] = self._table[name].to_numpy(np.float64)
        return found

    def outputs(self, name: str) -> Outputs:
        """Return the outputs with the rewards of the column ``name``."""
        columns = (self.column(each) for each in (name, TRUTH, "log_prob", "num_tokens"))
        return Outputs(*columns)


def of_samples(samples: Grid, pairs: Comparisons) -> Iterator[OfReward]:
    """Yield the measures of all rewards on the policy's own outputs."""
    for name in samples.names:
        for measure in measures.of_samples(samples.outputs(name), pairs):
            yield OfReward(called(name), measure, samples.inputs.tolist())


def of_responses(responses: Grid, samples: Grid, best: Comparisons) -> Iterator[OfReward]:
    """Yield the measures of all rewards on the data's responses.

    Args:
        responses: responses of the inputs that have some.
        samples: outputs of the policy for all inputs.
        best: the preferred response of each input with all others.
    """
    for name in responses.names:
        means = samples.column(name).mean(1)[np.searchsorted(samples.inputs, responses.inputs)]
        for measure in measures.of_responses(responses.outputs(name), best, means):
            yield OfReward(called(name), measure, responses.inputs.tolist())


def tables(
    found: Sequence[OfReward], ids: Sequence[str], *, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per reward and measure with its interval, and one per input too.

    Args:
        found: measures of all rewards.
        ids: ids of the run's inputs.
        seed: seed of the intervals.
    """
    import pandas as pd

    of_all, by_prompt = [], []
    for each in found:
        number = each.measure.estimate(seed=seed)
        of_all.append({"reward": each.reward, "measure": each.measure.name, "value": number.value,
                       "low": number.low, "high": number.high})  # fmt: skip
        by_prompt.append(
            pd.DataFrame(
                {
                    "input_id": [ids[row] for row in each.rows],
                    "reward": each.reward,
                    "measure": each.measure.name,
                    "value": each.measure.by_prompt,
                }
            )
        )
    return pd.DataFrame(of_all), pd.concat(by_prompt, ignore_index=True)


def lines(of_all: pd.DataFrame) -> Iterator[str]:
    """Yield one line per reward with the measures that tell most, and their intervals."""
    for reward, rows in of_all.groupby("reward", sort=False):
        by_measure = rows.set_index("measure")
        told = [
            f"{words} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            for measure, words in _TOLD.items()
            if measure in by_measure.index
            for row in [by_measure.loc[measure]]
        ]
        yield f"{reward}: {', '.join(told)}"


def normalizations(samples: Grid) -> dict[str, dict[str, float]]:
    """Return the constants by which each reward has mean 0 and std 1 on the policy's outputs.

    Raises:
        UserError: a reward does not deviate.
    """
    found = {}
    for name in samples.names:
        try:
            found[called(name)] = Normalization.of(samples.column(name)).as_json()
        except UserError as error:
            raise UserError(f"'{called(name)}': {error}") from error
    return found


def effective_pairs(outputs: Grid, comparisons: Comparisons) -> dict[str, float]:
    """Return how many comparisons there are, and how many equal weights vary as much as theirs.

    The weights are those of the policy's probabilities per token, and of whole texts.
    """
    if not len(comparisons):
        return {"all": 0.0}
    weights = measures.weights_by_suffix(outputs.outputs(TRUTH), comparisons)
    return {f"all{suffix}": effective_number(of) for suffix, of in weights.items()}


def called(column: str) -> str:
    """Return the name of the reward of a column."""
    return column.removeprefix(REWARD)
