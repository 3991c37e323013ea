"""Language models: sampling, supervised finetuning and reinforcement finetuning on text."""
