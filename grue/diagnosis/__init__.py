"""Diagnosis of rewards for a model and inputs: which groups are silent, why, and what to do."""
