"""Makes the runs of a plan and tells how they stand."""
