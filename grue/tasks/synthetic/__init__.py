"""Tasks with synthetic data."""
