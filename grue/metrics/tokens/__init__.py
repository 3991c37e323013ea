"""Tokenizers of metrics that compare or count tokens."""
