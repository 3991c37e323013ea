"""Users' own code that a plan names: import, checks and guarded calls."""
