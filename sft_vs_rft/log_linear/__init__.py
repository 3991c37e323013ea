"""Policy gradient of log-linear policies: exact or sampled, on tables of rewards.

One weight vector w gives every output y of an input x the logit <phi(x, y), w> / temperature (arXiv
2604.25872, section 3.3 and appendix C). A table holds the rewards that are trained on, another one
the ground truth. Axis letters: R runs, B inputs, C outputs of an input, D features, S updates.
"""
