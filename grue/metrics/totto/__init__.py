"""The metrics of ToTTo's own evaluation."""
