"""Common parts of text runs: keys, evaluations, metrics, the folder of a model."""
