"""Command-line tools in addition to plans."""
