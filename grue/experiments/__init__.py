"""Experiments on text: a configuration and a run each."""
