"""CPU seconds of log-linear runs of 50,000 updates: one, and 20 together.

Five outputs and features, exact updates, all metrics in their files, with everything that a run
does from its setting to its summary; the 20 differ in step size.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.together import run_together
from tests.benchmarks.vectorized import Member

_RUNS, _ROUNDS = 20, 3
_SETTING = {
    "output_features": [[[float(row == column) for column in range(5)] for row in range(5)]],
    "rewards": [[1, 0.8, -1, -1, -1]],
    "ground_truth_rewards": [[1, 0.8, -1, -1, -1]],
    "initial_policy_probabilities": [[0.05, 0.5, 0.15, 0.15, 0.15]],
}


def _members(folder: Path, runs: int, shared: dict[str, Any]) -> Iterator[Member]:
    for seed in range(runs):
        keys = {"setting": _SETTING, "lr": 0.1 / (1 + seed), **shared}
        own = folder / str(seed)
        own.mkdir()
        config: Any = LogLinearConfig.model_validate(keys)
        yield Member(config, Context(RunFolder(own), seed=seed))


def cpu_seconds(runs: int, **shared: Any) -> float:
    """CPU seconds of so many runs made together, from their settings to their summaries."""
    with tempfile.TemporaryDirectory() as name:
        members = list(_members(Path(name), runs, shared))
        started = time.process_time()
        run_together(members)
        return time.process_time() - started


def main() -> None:
    """Prints the median of each, taking turns, and their ratio."""
    cpu_seconds(1, epochs=100)  # warms up
    for updates in ("exact", "sampled"):
        keys = {"use_expected_reinforce_updates": updates == "exact"}
        turns = [[cpu_seconds(runs, **keys) for runs in (1, _RUNS)] for _ in range(_ROUNDS)]
        one, all_runs = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(many / alone for alone, many in turns)
        print(f"log-linear runs of 50,000 {updates} updates, CPU seconds")
        print(f"  1 run    {one:.2f}")
        print(f"  {_RUNS} runs  {all_runs:.2f}   {ratio:.2f} times one")


if __name__ == "__main__":
    main()
