"""Controlled experiments: exact policy gradients against supervised finetuning of classifiers."""

from common.experiment import EXPERIMENTS

EXPERIMENTS.register_path("sft_vs_rft", "sft_vs_rft.catalogue:CONTROLLED")
EXPERIMENTS.register_path("log_linear", "sft_vs_rft.catalogue:LOG_LINEAR")
EXPERIMENTS.register_path("linear_theory", "sft_vs_rft.catalogue:LINEAR_THEORY")
