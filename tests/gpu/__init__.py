"""What only a GPU can show, checked and measured: ``python -m tests.gpu``."""
