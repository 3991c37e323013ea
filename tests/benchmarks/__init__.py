"""Speeds as ratios, each from one run on one machine: ``make bench``."""
