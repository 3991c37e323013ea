"""Generation: outputs of a policy, token by token."""
