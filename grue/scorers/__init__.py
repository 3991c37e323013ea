"""Models that score texts; metrics and rewards load them at first use."""
