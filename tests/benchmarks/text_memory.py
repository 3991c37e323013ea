"""Peak memory of PPO iterations, as a multiple of what cannot be spared.

That is the weights of policy, critic and reference, and gradients and AdamW's two moments of what
is trained, all in float32. Peak memory is the process's on the CPU, less
what it held before there was a model. Each size has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

_SIZES = ((4, 128), (6, 512))
"""(layers, width)"""
_BYTES = 4
_ITERATIONS = 2
"""The second has the optimiser's moments from its beginning."""
_MEBI = 2**20


def measure(num_layers: int, width: int) -> None:
    """Prints a size's figures; for a process of its own."""
    from grue.policies.policy import Policy
    from tests.benchmarks.peak_memory import memory_of
    from tests.benchmarks.text_models import made_up_words, random_model
    from tests.benchmarks.text_ppo import Iteration

    tiny = Iteration(Policy(random_model(1, 4), made_up_words()))
    tiny()  # what torch and transformers load and keep

    def train() -> Iteration:
        iteration = Iteration(Policy(random_model(num_layers, width), made_up_words()))
        for _ in range(_ITERATIONS):
            iteration()
        return iteration

    peak, iteration = memory_of(train)
    policy = sum(weight.numel() for weight in iteration.actor_critic.policy.model.parameters())
    trained = sum(weight.numel() for weight in iteration.actor_critic.parameters())
    needed = _BYTES * (policy + trained + 3 * trained)
    print(f"  {num_layers} layers of width {width}: {peak / _MEBI:,.0f} MiB, "
          f"{peak / needed:.2f} times the {needed / _MEBI:,.0f} MiB of weights, gradients "
          "and moments")  # fmt: skip


def main() -> None:
    """Prints all sizes' figures."""
    print("Peak memory of PPO")
    sys.stdout.flush()
    for size in _SIZES:
        code = f"from tests.benchmarks.text_memory import measure; measure{size}"
        subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


if __name__ == "__main__":
    main()
