"""Parts that a configuration names by id, built in or the user's own."""
