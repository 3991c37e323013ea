"""The tasks of preferences: splits, order, token ids, and samples of an extraction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import UserError
from grue.tasks import find
from grue.tasks.choices.rows import choice_of
from grue.tasks.task import Split
from tests.grue.tasks.conftest import HubCalls, parts, samples, write_jsonl

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": "p" * i, "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(count)]


def ids(path: Path, split: Split, **args: Any) -> list[int]:
    found = samples("preferences", split, path=path, **args)
    return [int(sample.id.removeprefix(f"{split}_")) for sample in found]


def test_a_single_file_is_cut_as_asked_for(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "pairs.jsonl", pairs(10))
    assert [len(ids(file, split)) for split in SPLITS] == [10, 0, 0]
    assert ids(file, "val", held_out=0.25) == ids(file, "test", held_out=0.25) == [7, 8, 9]
    assert ids(file, "train", num_train=4) == [0, 1, 2, 3]
    assert ids(file, "val", num_train=4) == [4, 5, 6, 7, 8, 9]
    assert ids(file, "train", prompt_shorter_than=5, held_out=0.2) == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"has 10 rows, and 'datapool.args.num_train' asks for 11"):
        ids(file, "train", num_train=11)


def test_shuffled_rows_are_those_of_the_library(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "pairs.jsonl", pairs(43))
    whole = datasets.Dataset.from_dict({"row": list(range(43))})
    theirs = whole.train_test_split(test_size=0.2, shuffle=True, seed=28)
    cut = {"held_out": 0.2, "shuffle_seed": 28}
    assert ids(file, "train", **cut) == theirs["train"]["row"]
    assert ids(file, "val", **cut) == theirs["test"]["row"]


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    for stem, count in (("train", 3), ("validation", 2)):
        write_jsonl(tmp_path / f"{stem}.jsonl", pairs(count))
    assert [len(ids(tmp_path, split)) for split in SPLITS] == [3, 2, 2]
    write_jsonl(tmp_path / "test.jsonl", pairs(1))
    assert len(ids(tmp_path, "test")) == 1


def test_token_ids_are_read_as_text(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.save_pretrained(tmp_path / "t")
    query, *texts = (tokenizer(text)["input_ids"] for text in ("the cat", " sat", " runs", "2", ""))
    padded = [[*text, *[len(tokenizer) + 2] * 3] for text in texts]
    row = {"query": query, **{f"sample{i}": text for i, text in enumerate(padded)}, "best": 1}
    (tmp_path / "labels.json").write_text(json.dumps([row]))
    (found,) = samples("preferences", path=tmp_path / "labels.json",
                       token_ids_of=str(tmp_path / "t"))  # fmt: skip
    choice = choice_of(found)
    assert (choice.prompt, choice.responses) == ("the cat", (" sat", " runs", "2", ""))
    assert found.references == (" runs",)
    with pytest.raises(UserError, match=r"token_ids_of' = .*: cannot be loaded .* hold token ids"):
        samples("preferences", path=tmp_path / "labels.json", token_ids_of=str(tmp_path))


def published_labels(file: Path, tokenizer: Any, **changes: Any) -> Path:
    """Rows as OpenAI published them: ids of GPT-2, filled up with one beyond its vocabulary."""
    query, *texts = (
        [*tokenizer(text)["input_ids"], *[50259] * 3]
        for text in ("usually, he would", " go.", " not go.", " sit down.", " see.")
    )
    rows = [{"query": query, **{f"sample{i}": text for i, text in enumerate(texts)}, "best": best}
            for best in (2, 0, 3)]  # fmt: skip
    rows[1] = {key: value for key, value in {**rows[1], **changes}.items() if value is not None}
    file.write_text(json.dumps(rows))
    return file


def test_published_labels_are_read(tmp_path: Path, data_dir: Path, hub: HubCalls) -> None:
    gpt2 = str(data_dir / "gpt2-tiny")
    file = published_labels(tmp_path / "offline_5k.json", AutoTokenizer.from_pretrained(gpt2))
    found = samples("preferences", path=file, num_train=2, token_ids_of=gpt2)
    assert [choice_of(sample).best for sample in found] == [2, 0]
    assert choice_of(found[0]).prompt == "usually, he would"
    assert choice_of(found[0]).responses == (" go.", " not go.", " sit down.", " see.")
    assert len(samples("preferences", "val", path=file, num_train=2, token_ids_of=gpt2)) == 1
    hub.rows["vwxyzjn/lm-human-preferences"] = json.loads(file.read_text())
    args = {"hub_id": "vwxyzjn/lm-human-preferences", "hub_file": "sentiment/offline_5k.json"}
    assert parts(samples("preferences", **args, num_train=2, token_ids_of=gpt2)) == parts(found)
    assert hub.asked[0][1] == {"data_files": "sentiment/offline_5k.json", "split": "train"}
    with pytest.raises(UserError, match=r"has 3 rows, and 'datapool.args.num_train' asks for 4992"):
        samples("preferences", **args, num_train=4992, token_ids_of=gpt2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"best": 4}, r"entry 2: 'best' = 4: must be one of 0 to 3, the positions of the 4 "),
        ({"best": "1"}, r"entry 2: 'best' = '1': must be one of 0 to 3"),
        ({"sample2": None}, r"entry 2: 'sample2' is missing; found query, sample0"),
        ({"sample3": None}, r"entry 2: has 3 samples, the first row has 4; give all rows as many"),
        ({"sample4": [13]}, r"entry 2: has 5 samples, the first row has 4; give all rows as many"),
        ({"sample1": [13, -1]}, r"entry 2: found the token id -1; ids are 0 or more"),
        ({"query": None}, r"entry 2: needs the column 'prompt' or 'query'"),
        ({"best": None}, r"entry 2: needs a prompt with chosen and rejected; samples \(or "),
    ],
)
def test_broken_labels_are_named(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any], message: str
) -> None:
    tokenizer.save_pretrained(tmp_path / "t")
    file = published_labels(tmp_path / "labels.json", tokenizer, **changes)
    with pytest.raises(UserError, match=message):
        samples("preferences", path=file, token_ids_of=str(tmp_path / "t"))


def test_published_ratings_and_differences_are_read(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(tmp_path / "t")
    query, sample = tokenizer("the cat")["input_ids"], tokenizer(" sat")["input_ids"]
    file = tmp_path / "labels.json"
    for known, read in (
        ({"sample": sample, "score": 1.5, "worker": "a"}, (None, (1.5,), None)),
        ({"sample0": sample, "sample1": query, "difference": -2}, (None, None, -2)),
    ):
        file.write_text(json.dumps([{"query": query, **known}]))
        (found,) = samples("preferences", path=file, token_ids_of=str(tmp_path / "t"))
        choice = choice_of(found)
        assert (choice.best, choice.ratings, choice.difference) == read
        assert (choice.prompt, choice.responses[0]) == ("the cat", " sat")


def test_real_pairs_are_read(data_dir: Path) -> None:
    file = data_dir / "preferences/dpo_en_demo.jsonl"
    found = samples("preferences", path=file, held_out=0.1)
    held_out = samples("preferences", "val", path=file, held_out=0.1)
    assert (len(found), len(held_out)) == (270, 30)
    choice = choice_of(found[0])
    assert choice.prompt.startswith("Hi! I'd like to create a new language game simulating")
    assert choice.responses[0].startswith("That sounds like a fun and engaging idea!")
    assert choice.best == 0 and len(choice.responses) == 2


def test_data_sets_of_the_hub(hub: HubCalls) -> None:
    hub.rows["some/pairs"] = pairs(5)
    args = {"hub_id": "some/pairs", "hub_split": "average", "held_out": 0.4}
    assert len(samples("preferences", **args)) == 3
    assert len(samples("preferences", "val", hub_file="a/b.json", **args)) == 2
    assert hub.asked == [
        ("some/pairs", {"split": "average"}),
        ("some/pairs", {"data_files": "a/b.json", "split": "average"}),
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "'path' = null: give either this key or 'hub_id'"),
        ({"path": "x", "hub_id": "y"}, "'path' = 'x': give either"),
        ({"path": "x", "num_train": 3, "held_out": 0.1}, "'num_train' = 3: contradicts"),
        ({"path": "x", "rating_scale": [5, 1]}, r"'rating_scale' = .*: must be \[smallest, larg"),
    ],
)
def test_keys_that_contradict_each_other(args: dict[str, Any], message: str) -> None:
    _, problems = resolve(find("preferences").Args, args)
    assert len(problems) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(str(problems[0]))


def extraction(folder: Path, scores: list[list[float]]) -> Path:
    rows = [
        {"input_id": f"train_{i}", "index": i, "sample_id": k, "prompt": f"p{i}",
         "output": f"o{i}{k}", "num_tokens": 1, "score": score}
        for i, of_input in enumerate(scores)
        for k, score in enumerate(of_input)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "samples.parquet")
    return folder / "samples.parquet"


def test_the_best_sample_of_an_extraction_wins(tmp_path: Path) -> None:
    file = extraction(tmp_path, [[1, 3, 2], [5, 0, 5], [9, 8, 9.5], [0, 0, 1]])
    found = samples("ranked_samples", path=file, metric="score")
    assert [sample.id for sample in found] == ["train_0", "train_2", "train_3"]
    choice = choice_of(found[0])
    assert choice.responses == ("o00", "o01", "o02") and choice.prompt == "p0"
    assert choice.best == 1 and choice.ratings == (1, 3, 2)
    two = samples("ranked_samples", path=file, metric="score", num_samples=2)
    assert [choice_of(sample).best for sample in two] == [1, 0, 0]
    assert [choice_of(sample).responses for sample in two][1] == ("o10", "o11")
    held = samples("ranked_samples", "val", path=file, metric="score", held_out=0.3)
    assert [sample.prompt for sample in held] == ["p2"]


def test_samples_that_rank_nothing_are_refused(tmp_path: Path) -> None:
    file = extraction(tmp_path, [[1, 1], [0, 0]])
    with pytest.raises(UserError, match="no input has a single best sample by 'score'"):
        samples("ranked_samples", path=file, metric="score")
    with pytest.raises(UserError, match="has no column 'rouge'; its columns are input_id, index"):
        samples("ranked_samples", path=file, metric="rouge")
