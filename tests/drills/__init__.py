"""Drills: plans that are killed, starved of disk and damaged end with equal results.

``python -m tests.drills`` makes all of them; see ``docs/failures.md``.
"""
