"""Metrics that are computed by a model."""
