"""Extraction of reward samples: K outputs for each input."""
