"""Classifiers: MLPs, image models and BERT."""
