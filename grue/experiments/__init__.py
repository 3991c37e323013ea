"""The experiments on text: a configuration and a run each."""
