"""Figures of rewards sampled per input: means, stds and expected gradients."""
