"""Processes that score pairs of outputs and references beside this one."""
