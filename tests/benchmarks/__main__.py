"""Runs all benchmarks, or those named: ``python -m tests.benchmarks controlled_mlp``.

Each has a process of its own, so that none finds what another has loaded, cached or held.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys

from common.process.threads import waiting_of

os.environ.update(waiting_of(os.environ))  # as run_plan.py does

ALL = (
    "controlled_mlp", "vectorized", "log_linear", "training_steps", "plan_reading", "many_runs",
    "start_up",
    "text_extraction",
    "text_sampling", "text_scoring", "text_ppo",
    "text_policy_gradient", "text_memory", "report_page",
)  # fmt: skip


def main() -> None:
    """Prints the machine, then each benchmark's figures."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", flush=True)
    for name in sys.argv[1:] or ALL:
        code = f"from tests.benchmarks.{name} import main; main()"
        subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
