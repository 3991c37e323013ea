"""Controlled experiments: exact policy gradients against supervised finetuning of classifiers."""

from common.experiment import EXPERIMENTS, Experiment
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.theory.config import LinearConfig

EXPERIMENTS.register("sft_vs_rft")(
    Experiment(
        config=ControlledConfig,
        run="sft_vs_rft.experiment:run",
        preflight="sft_vs_rft.preflight:check",
        memory="sft_vs_rft.memory:needs",
        files={"checkpoint": "checkpoints/last.pt"},
        run_together="sft_vs_rft.vectorized.together:run_together",
    )
)
EXPERIMENTS.register("linear_theory")(
    Experiment(
        config=LinearConfig,
        run="sft_vs_rft.theory.linear:run",
        preflight="sft_vs_rft.theory.linear:check",
    )
)
