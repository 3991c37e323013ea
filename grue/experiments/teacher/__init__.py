"""Reward models as teachers of a policy: accuracy, harm, and variance of their rewards."""
