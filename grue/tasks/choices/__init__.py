"""Tasks of choices between responses: preferences, ranked samples, and mixes of them."""
