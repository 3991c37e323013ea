"""Language models and tokenizers from the hub or a folder, and how they are held."""
