"""What all text runs share: keys, evaluations, metrics, the folder of a model."""
