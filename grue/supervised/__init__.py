"""Supervised finetuning by the transformers Trainer."""
