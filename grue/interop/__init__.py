"""Doors to other trainers: what they call, what they leave, and what they read."""
