"""From a plan file to checked runs, without torch."""
