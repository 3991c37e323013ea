"""GPU memory that text runs need, known before they start."""
