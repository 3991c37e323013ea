"""Controlled experiments: exact policy gradients against supervised finetuning of classifiers."""

from common.experiment import EXPERIMENTS, Experiment
from sft_vs_rft.config import ControlledConfig

EXPERIMENTS.register("sft_vs_rft")(
    Experiment(
        config=ControlledConfig,
        run="sft_vs_rft.experiment:run",
        preflight="sft_vs_rft.preflight:check",
        files={"checkpoint": "checkpoints/last.pt"},
    )
)
