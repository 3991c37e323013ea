"""Language models as policies: text in, tokens and log-probabilities out."""
