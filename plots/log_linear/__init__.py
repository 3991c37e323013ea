"""Figures of log-linear policy gradient (arXiv 2604.25872)."""
