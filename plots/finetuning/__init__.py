"""Figures of finetuned language models: what finetuning changes, and what that depends on."""
