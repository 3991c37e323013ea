"""Models that judge texts; loaded by metrics and rewards at their first use."""
