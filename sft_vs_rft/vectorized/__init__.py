"""Vectorized training: runs that differ only in numbers and seeds as one batched model.

Axis letters: R runs, P weights of a run, B inputs of a run's batch, C classes, N training and M
test inputs of a run.
"""
