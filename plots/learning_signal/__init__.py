"""Figures of how much reward there is to learn from, and of what is learned."""
