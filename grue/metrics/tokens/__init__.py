"""Texts as tokens, for metrics that compare or count them."""
