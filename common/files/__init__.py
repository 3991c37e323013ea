"""Files that are read strictly and written whole."""
