"""Training of a text classifier, such as a learned reward's."""
