"""Runs all benchmarks, or those named: ``python -m tests.benchmarks controlled_mlp``."""

from __future__ import annotations

import importlib
import os
import platform
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as run_plan.py sets it

ALL = (
    "controlled_mlp", "vectorized", "training_steps", "plan_reading", "start_up", "text_extraction",
    "text_sampling", "text_scoring", "text_ppo", "text_memory",
)  # fmt: skip


def main() -> None:
    """Prints the machine, then each benchmark's figures."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for name in sys.argv[1:] or ALL:
        importlib.import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
