"""Preflight checks of data, models and parts, before the first run of a plan starts."""
