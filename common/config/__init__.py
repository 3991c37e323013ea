"""Configuration models: typed keys, their rules, and messages about values that do not fit."""
