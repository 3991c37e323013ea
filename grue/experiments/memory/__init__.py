"""GPU memory needs of text runs, estimated before they start."""
