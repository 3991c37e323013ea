"""Runs as tasks of a Ray cluster: their needs, their placing, and their work on a node."""
