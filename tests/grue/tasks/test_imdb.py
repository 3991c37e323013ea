"""The film reviews: splits, halves and filters."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.grue.tasks.conftest import parts, samples, write_jsonl

REVIEWS = [{"text": f"r{n} is a film", "label": n % 2} for n in range(20)]


def shuffled(seed: int) -> list[dict[str, Any]]:
    """As the published programs shuffle."""
    import datasets

    return list(datasets.Dataset.from_list(REVIEWS).shuffle(seed=seed))


@pytest.mark.parametrize("seed", [0, 42])
def test_imdb_splits_the_shuffled_training_reviews(tmp_path: Path, seed: int) -> None:
    for stem in ("train", "test"):
        write_jsonl(tmp_path / f"{stem}.jsonl", REVIEWS)
    rows = [(row["text"].split(" ")[0], row["text"]) for row in shuffled(seed)]
    for split, part in (("train", rows[:16]), ("val", rows[16:]), ("test", rows)):
        assert parts(samples("imdb", split, path=tmp_path, seed=seed)) == [
            (f"{split}_{i}", f"{first} is", (text,)) for i, (first, text) in enumerate(part)
        ]


def test_the_repaired_splits_are_those_of_seed_0(tmp_path: Path) -> None:
    for stem in ("train", "test"):
        write_jsonl(tmp_path / f"{stem}.jsonl", REVIEWS)
    for split in ("train", "val", "test"):
        fixed = samples("imdb_fixed", split, path=tmp_path)
        assert fixed == samples("imdb", split, path=tmp_path, seed=0)
        assert fixed != samples("imdb_fixed", split, path=tmp_path, seed=1)


def test_imdb_positive_reviews_of_the_training_split_keep_their_number(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", REVIEWS)
    args = {"path": tmp_path, "seed": 1, "only_positive_samples": True}
    expected = [
        (f"train_{i}", row["text"]) for i, row in enumerate(shuffled(1)[:16]) if row["label"] == 1
    ]
    assert [(s.id, s.references[0]) for s in samples("imdb", **args)] == expected
    assert len(samples("imdb", "val", **args)) == 4


def test_imdb_seq2seq_keeps_a_share_of_the_positive_reviews(tmp_path: Path) -> None:
    for stem in ("train", "test"):
        write_jsonl(tmp_path / f"{stem}.jsonl", REVIEWS)
    rows = list(enumerate(shuffled(3)))
    positive = [(i, row["text"]) for i, row in rows[:16] if row["label"] == 1]
    args = {"path": tmp_path, "seed": 3}
    for ratio in (1.0, 0.5, 0.0):
        found = samples("imdb_seq2seq", **args, positive_ratio=ratio)
        kept = positive[: int(len(positive) * ratio)]
        assert parts(found) == [
            (f"train_{i}", " ".join(text.split()[:2]), ("a film",)) for i, text in kept
        ]
        assert [sample.metadata for sample in found] == [{"reference": text} for _, text in kept]
    assert len(samples("imdb_seq2seq", "val", **args, positive_ratio=0.0)) == 4
    assert len(samples("imdb_seq2seq", "test", **args, positive_ratio=0.0)) == 20


def test_imdb_prompts_are_cut_at_single_blanks(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a  b\nc d e", "label": 1}] * 2)
    (half,) = samples("imdb_seq2seq", path=file, seed=0)
    assert (half.prompt, half.references) == ("a ", ("b\nc d e",))  # of "a", "", "b\nc", "d", "e"


def test_imdb_tests_on_the_first_5000(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [{"text": f"a {n}", "label": 0} for n in range(5002)])
    found = samples("imdb", "test", path=tmp_path, seed=0)
    assert len(found) == 5000 == len({sample.references for sample in found})


def test_imdb_keeps_a_validation_split_that_is_there(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", REVIEWS)
    write_jsonl(tmp_path / "validation.jsonl", [{"text": "x y", "label": 0}])
    assert len(samples("imdb", path=tmp_path, seed=0)) == 20
    assert parts(samples("imdb", "val", path=tmp_path, seed=0)) == [("val_0", "x", ("x y",))]


@pytest.mark.parametrize("name", ["imdb", "imdb_seq2seq"])
@pytest.mark.parametrize("given", [{}, {"seed": -1}])
def test_a_missing_seed_is_42_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, given: dict[str, int]
) -> None:
    write_jsonl(tmp_path / "train.jsonl", REVIEWS)
    with caplog.at_level(logging.WARNING):
        expected = samples(name, path=tmp_path, seed=42)
        assert not caplog.records
        assert parts(samples(name, path=tmp_path, **given)) == parts(expected)
    assert "'datapool.args.seed' is not given: 42" in caplog.text
