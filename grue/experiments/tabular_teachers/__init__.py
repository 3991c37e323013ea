"""Reward models as teachers of a tabular policy: a controlled study without language models."""
