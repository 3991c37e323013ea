"""Attempts at runs, in this process or in worker processes of this machine."""
