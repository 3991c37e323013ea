"""Controlled experiments that a plan may name, each with its keys."""

from __future__ import annotations

from common.experiment import Experiment
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.theory.config import LinearConfig

CONTROLLED = Experiment(
    config=ControlledConfig,
    run="sft_vs_rft.experiment:run",
    preflight="sft_vs_rft.preflight:check",
    memory="sft_vs_rft.memory:needs",
    files={"checkpoint": "checkpoints/last.pt"},
    run_together="sft_vs_rft.vectorized.together:run_together",
)
LOG_LINEAR = Experiment(
    config=LogLinearConfig,
    run="sft_vs_rft.log_linear.experiment:run",
    preflight="sft_vs_rft.log_linear.preflight:check",
    files={"checkpoint": "checkpoints/last.pt"},
    claims=lambda keys: "use_expected_reinforce_updates" in keys,
    run_together="sft_vs_rft.log_linear.together:run_together",
)
LINEAR_THEORY = Experiment(
    config=LinearConfig,
    run="sft_vs_rft.theory.linear:run",
    preflight="sft_vs_rft.theory.linear:check",
)
