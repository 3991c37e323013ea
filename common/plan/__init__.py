"""From a plan file to checked runs; nothing here loads torch."""
