"""Data of controlled runs: pools of inputs, subsets, label sets and changes."""
