"""Needs of figures, and the runs of a plan that will meet them."""
