"""Measured theory of arXiv 2310.20703: the gradient bound, and the linear model."""
