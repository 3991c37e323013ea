"""Facts about the named data sets: numbers of classes, and sizes."""

from __future__ import annotations

NUM_CLASSES = {
    "digits": 10,
    "mnist": 10,
    "fmnist": 10,
    "cifar10": 10,
    "cifar100": 100,
    "cifar100coarse": 20,
    "svhn": 10,
    "stsb": 6,
}
"""Number of classes of each named data set; those of npz files are counted."""


DIGITS_SIZES = {"train": 1297, "test": 500}
"""Number of inputs of the bundled data set, the only one whose sizes no folder can change."""
