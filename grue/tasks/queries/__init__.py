"""Queries of lm-human-preferences: beginnings of texts (arXiv 1909.08593)."""
