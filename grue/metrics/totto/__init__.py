"""Metrics of ToTTo's own evaluation."""
