"""The mathematics of reinforcement finetuning: pure functions of tensors."""
