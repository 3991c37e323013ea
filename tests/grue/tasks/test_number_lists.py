"""The made-up lists of numbers: random ones, of which the first is the prompt."""

from __future__ import annotations

from tests.grue.tasks.conftest import samples


def test_lists_have_the_length_and_the_numbers_asked_for() -> None:
    found = samples("number_lists", num_samples=300, length=4, largest=5)
    lists = [[int(word) for word in (s.prompt + s.references[0]).split()] for s in found]
    assert len(lists) == 300 and all(len(numbers) == 4 for numbers in lists)
    assert {number for numbers in lists for number in numbers} == set(range(6))
    assert all(len(sample.prompt.split()) == 1 for sample in found)


def test_splits_and_seeds_differ() -> None:
    found = [samples("number_lists", split, num_samples=40) for split in ("train", "val", "test")]
    assert [len(split) for split in found] == [40, 10, 10]
    starts = [[sample.references for sample in split[:10]] for split in found]
    assert starts[0] != starts[1] != starts[2]
    assert samples("number_lists", seed=1) != samples("number_lists")
