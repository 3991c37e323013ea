"""Sources of tasks' rows: local files, and the hub."""
