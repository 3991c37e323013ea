"""A new, untrained model with its tokenizer, made for a task's texts."""
