"""Rollouts: outputs collected from a policy, with everything that an update needs."""
