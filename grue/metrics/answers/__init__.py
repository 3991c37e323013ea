"""Answers that can be verified: found in a text, and compared with the right one."""
