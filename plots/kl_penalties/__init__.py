"""Figures of exact and sampled KL penalties: noise of gradients, reward against KL."""
