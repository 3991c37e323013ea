"""Worker processes that score pairs of outputs and references."""
