"""Tasks whose data are made up."""
