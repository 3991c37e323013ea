"""Figures of controlled experiments: curves, gradients against reward stds, learning times."""
