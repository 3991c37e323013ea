"""Execution of a plan's runs, and reports about them."""
