"""Command-line tools beside the plans."""
