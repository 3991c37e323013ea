"""The parts of the check, in the order in which they begin: the most telling first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A module of tests that a process of its own makes."""

    name: str
    """``golden`` stands for ``tests/gpu/test_golden.py``."""
    limit: int
    """Seconds after which it is ended, on a GPU; on a CPU twice as many."""
    alone: bool = False
    """Whether nothing else may run beside it: it measures speeds."""
    folder: str = "tests/gpu"
    """Where its module is, from the project's folder."""

    @property
    def file(self) -> str:
        """Its module, from the project's folder."""
        return f"{self.folder}/test_{self.name}.py"


PARTS = (
    Part("resume", 150),
    Part("scheduling", 120),
    Part("executors", 150),
    Part("trpo", 60),
    Part("algorithms", 90),
    Part("log_probs", 60),
    Part("golden", 90),
    Part("precision", 60),
    Part("decoding_waits", 60),
    Part("controlled_waits", 60),
    Part("extraction", 60),
    Part("training", 90),
    Part("gradients", 60),
    Part("models", 90),
    Part("vectorized", 90),
    Part("speed_decoding", 60, alone=True),
    Part("speed_iteration", 120, alone=True),
    Part("speed_controlled", 90, alone=True),
    Part("speed_vectorized", 60, alone=True),
    Part("speed_extraction", 60, alone=True),
    Part("speed_start", 60, alone=True),
    Part("speed_compile", 120, alone=True),
)  # fmt: skip
"""What ``make gpu`` makes."""

PLANS = (
    Part("plan_mlp_mnist", 140, alone=True),
    Part("plan_resnet_cifar", 110, alone=True),
    Part("plan_bert_stsb", 110, alone=True),
)
"""What ``make gpu-plans`` makes: plans at published size."""
