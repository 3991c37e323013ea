"""Finetuning of a language model, by its references or by rewards."""
