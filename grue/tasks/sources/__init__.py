"""Where tasks read their rows: local files, or the hub."""
