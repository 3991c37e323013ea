"""The spine: plans, runs and their folders, scheduling, and the template of a fit."""
