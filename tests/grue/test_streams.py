"""Streams of random numbers never meet."""

from __future__ import annotations

import itertools

import torch

from grue.random_streams import Occasion, generator, seed_of, uniforms


def test_no_two_streams_begin_alike() -> None:
    """Seeds and numbers of many sizes, which NumPy alone would take for each other."""
    sizes = (0, 1, 2, 2**31, 2**32, 2**32 + 1)
    keys = [
        (occasion, seed, *numbers)
        for occasion in Occasion
        for seed in (0, 1, 2**32)
        for count in range(4)
        for numbers in itertools.product(sizes if count < 3 else (0, 1, 2**32), repeat=count)
    ]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert len({generator(*key).random() for key in keys}) == len(keys)


def test_an_evaluation_draws_nothing_that_a_rollout_draws() -> None:
    evaluation = uniforms(Occasion.EVALUATION, 5, range(20), 1, 4)
    rollouts = [
        uniforms(Occasion.ROLLOUT, 5, range(4), 1, 4, numbers=(iteration, batch))
        for iteration in range(20)
        for batch in range(2)
    ]
    drawn = torch.cat([evaluation, *rollouts]).flatten()
    assert len(drawn.unique()) == drawn.numel()


def test_equal_keys_draw_alike_whatever_stands_beside_them() -> None:
    both = uniforms(Occasion.EXTRACTION, 3, [4, 9], 2, 6)
    assert torch.equal(uniforms(Occasion.EXTRACTION, 3, [9], 2, 6)[0], both[1])
