"""Language models and tokenizers from the hub or a folder: loading, precision, adapters."""
