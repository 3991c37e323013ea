"""Tolerance within which numbers count as equal."""

TOLERANCE = 1e-6
"""Largest difference, as a share of the largest |value|. It is relative, because rewards may be
tiny."""
