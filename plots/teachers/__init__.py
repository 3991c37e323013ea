"""Figures of reward models as teachers: what they teach against what was measured before."""
