"""Rollouts: outputs collected from a policy, with all data of an update."""
