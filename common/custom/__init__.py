"""Code outside the project that a plan names: found, checked and called with care."""
