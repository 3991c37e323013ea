"""Configuration models: typed keys, their rules, and what does not fit them."""
