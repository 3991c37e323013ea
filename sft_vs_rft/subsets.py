"""Sizes of the subsets that runs draw."""

from __future__ import annotations


def drawn_size(size: int, total: int) -> int:
    """How many of ``total`` inputs a run takes that asks for ``size``: all where 0 or too many."""
    return size if 0 < size < total else total


def undrawable(size: int, total: int, num_classes: int, smallest_class: int) -> str | None:
    """Why no stratified subset can be drawn; None where it can, or where all inputs are taken.

    Args:
        size: the inputs asked for; 0 or less for all.
        total: the inputs there are.
        num_classes: how many classes they have.
        smallest_class: the inputs of the smallest class.
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
