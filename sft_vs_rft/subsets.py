"""Sizes of the subsets that runs draw."""

from __future__ import annotations


def drawn_size(size: int, total: int) -> int:
    """Return the number of inputs that a run of subset ``size`` takes; ``total`` is the limit."""
    return size if 0 < size < total else total


def undrawable(size: int, total: int, num_classes: int, smallest_class: int) -> str | None:
    """Return why no stratified subset can be drawn; None if it can, or if all inputs are used.

    Args:
        size: number of inputs of the subset; 0 or less for all.
        total: number of all inputs.
        num_classes: number of classes.
        smallest_class: number of inputs of the smallest class.
    """
    if drawn_size(size, total) == total:
        return None
    if smallest_class < 2:
        return "a class has a single input, so no stratified subset can be drawn; take all (0)"
    most = total - num_classes
    if not num_classes <= size <= most:
        return (
            f"a stratified subset has at least one input of each of {num_classes} classes, and "
            f"leaves one; take {num_classes} to {most}, or all {total} (0)"
        )
    return None
