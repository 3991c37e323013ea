"""What is looked at before the first run of a plan starts: data, models, tokenizers, parts."""
