"""Runs in a SLURM queue: their submission, their jobs, and what is known of them."""
