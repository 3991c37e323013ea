"""How far numbers may be apart that count as equal."""

TOLERANCE = 1e-6
"""Share of the largest |value|. Nothing is absolute, for rewards may be tiny."""
