"""The tasks of queries, on made-up files, with a tokenizer made for them and with GPT-2's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import AutoTokenizer

from common.errors import UserError
from common.packages import pip_install
from grue.experiments.new_model.tokenizer import byte_pairs
from grue.policies.policy import Policy
from grue.tasks import find
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.task import Sample, Split
from tests.grue.conftest import causal_model
from tests.grue.tasks.conftest import HubCalls, samples, write_jsonl

SPLITS: tuple[Split, ...] = ("train", "val", "test")
BOOKS = [f"Page {n}. The cat sat on mat {n}. It sat. And then" for n in range(20)]
ARTICLE = "By Ann\nNews\nOslo (CNN) -- Rain fell.\n\nIt was wet.\nThe end\n@highlight\n\nWet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A byte-level tokenizer with all characters, and with words of the texts."""
    place = tmp_path_factory.mktemp("tokenizer")
    byte_pairs(iter(BOOKS), 300, 128).save_pretrained(place)
    return str(place)


@pytest.fixture
def books(tmp_path: Path, folder: str) -> dict[str, Any]:
    """Args that read `BOOKS` in their order."""
    write_jsonl(tmp_path / "books.jsonl", [{"text": text} for text in BOOKS])
    return {"path": tmp_path / "books.jsonl", "tokenizer": folder, "shuffle_seed": None,
            "num_held_out": 0}  # fmt: skip


def places(found: list[Sample]) -> list[int]:
    return [int(sample.id.rpartition("_")[2]) for sample in found]


def test_a_query_lies_between_its_first_and_its_last_stop(books: dict[str, Any]) -> None:
    found = samples("books", **books)
    assert [sample.prompt for sample in found] == [
        f" The cat sat on mat {n}. It sat." for n in range(20)
    ]
    assert [sample.id for sample in found] == [f"train_{n}" for n in range(20)]
    assert not any(sample.references for sample in found)
    short = samples("books", **books, query_length=12)
    assert {sample.prompt.partition(" mat")[0] for sample in short} == {" The cat sat on"}
    assert all(sample.prompt.endswith(".") for sample in short)


def test_texts_without_a_mark_are_left_out_and_counted(
    books: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write_jsonl(books["path"], [{"text": text} for text in ("no stop", "One. Two.", "", "Three.")])
    with caplog.at_level(logging.INFO):
        found = samples("books", **books)
    assert [(sample.id, sample.prompt) for sample in found] == [
        ("train_1", " Two."), ("train_3", "Three."),
    ]  # fmt: skip
    assert "2 queries; of its texts 1 lack the start or the end and 1 are empty" in caplog.text
    kept = samples("books", **books, unmarked="keep")
    assert [sample.prompt for sample in kept] == ["no stop", " Two.", "Three."]
    with pytest.raises(UserError, match=r"gives no queries for the split 'train': of its texts 3 "
                       r"lack the start or the end and 1 are empty; set "):  # fmt: skip
        samples("books", **books, start_text="!")


def test_policies_read_the_very_tokens(books: dict[str, Any]) -> None:
    """Even of a text that was cut within a letter, whose tokens no text gives."""
    tokenizer = AutoTokenizer.from_pretrained(books["tokenizer"])
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    write_jsonl(books["path"], [{"text": "aé bcd"}, {"text": "<|endoftext|>"}])
    marks = {"start_text": None, "end_text": None, "prompt_suffix": "\n\nbc"}
    for length in range(1, 8):
        found = samples("books", **books, **marks, query_length=length)
        for text, sample in zip(("aé bcd", "<|endoftext|>"), found, strict=True):
            options: Any = {"split_special_tokens": True}
            ids = tokenizer(text, **options)["input_ids"][:length]
            expected = [*ids, *tokenizer("\n\nbc")["input_ids"]]
            assert policy.encode_samples([sample], 64) == [expected]
            assert sample.prompt == tokenizer.decode(expected)
    cut = samples("books", **books, **marks, query_length=2)[0]
    assert "\ufffd" in cut.prompt
    assert policy.encode([cut.prompt], 64) != policy.encode_samples([cut], 64)
    (both,) = (policy.encode_samples([cut], 3),)
    assert both == [list(cut.token_ids or ())[-3:]]
    (first,) = policy.encode_samples([cut], 3, "right")
    assert first == list(cut.token_ids or ())[:3]


def test_samples_with_and_without_tokens_keep_their_order(causal_policy: Policy) -> None:
    ids = [5, 6, 7]
    text = causal_policy.tokenizer.decode(ids)
    mixed = [Sample("a", "the cat", ()), Sample("b", text, (), token_ids=ids), Sample("c", "a", ())]
    first, last = causal_policy.encode(["the cat", "a"], 64)
    assert causal_policy.encode_samples(mixed, 64) == [first, ids, last]


def test_tokens_of_another_tokenizer_are_refused(
    books: dict[str, Any], causal_policy: Policy
) -> None:
    with pytest.raises(UserError, match=r"tokens of 'train_0' are another tokenizer's, and say .*; "
                       r"set 'datapool.args.tokenizer' to the policy's"):  # fmt: skip
        causal_policy.encode_samples(samples("books", **books), 64)


def test_a_tokenizer_with_special_tokens_reads_the_text(books: dict[str, Any]) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(books["tokenizer"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.save_pretrained(books["tokenizer"] + "_marking")
    found = samples("books", **{**books, "tokenizer": books["tokenizer"] + "_marking"})
    assert found[0].token_ids is None
    assert found[0].prompt == " The cat sat on mat 0. It sat."


def test_the_first_queries_of_a_single_file_are_held_out(books: dict[str, Any]) -> None:
    found = {s: samples("books", s, **{**books, "num_held_out": 3}) for s in SPLITS}
    assert [places(found[s]) for s in SPLITS] == [list(range(6, 20)), [0, 1, 2], [3, 4, 5]]
    assert found["val"][0].id == "val_0"
    few = samples("books", **{**books, "num_held_out": 3, "num_queries": 4})
    assert places(few) == [6, 7, 8, 9]
    assert samples("books", "val", **books) == []
    with pytest.raises(UserError, match=r"none of its texts is left out; the first 20 are held "
                       r"out, lower 'num_held_out'"):  # fmt: skip
        samples("books", **{**books, "num_held_out": 10})


def test_splits_of_a_folder_are_kept(tmp_path: Path, folder: str) -> None:
    for stem, texts in (("train", BOOKS), ("validation", BOOKS[:7])):
        (tmp_path / f"{stem}.txt").write_text("\n\n".join(texts))
    args = {"path": tmp_path, "tokenizer": folder, "num_held_out": 5, "shuffle_seed": None}
    found = [places(samples("books", split, **args)) for split in SPLITS]
    assert found == [list(range(20)), list(range(5)), list(range(5))]
    (tmp_path / "test.txt").write_text(BOOKS[0])
    assert places(samples("books", "test", **args)) == [0]


def test_a_seed_fixes_the_order(books: dict[str, Any]) -> None:
    shuffled = [
        places(samples("books", **{**books, "shuffle_seed": seed, "num_queries": 10}))
        for seed in (0, 0, 1)
    ]
    assert shuffled[0] == shuffled[1] != shuffled[2]
    assert all(sorted(found) == list(range(10)) != found for found in shuffled)


def test_no_more_is_read_than_is_needed(
    books: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grue.tasks.queries.task._BATCH", 4)
    lines = books["path"].read_text().splitlines()
    books["path"].write_text("\n".join([*lines[:8], "broken"]))
    assert len(samples("books", **books, num_queries=8)) == 8
    with pytest.raises(UserError, match=r"cannot be read: line 9"):
        samples("books", **books, num_queries=9)


def test_sentences_are_joined_to_passages(books: dict[str, Any]) -> None:
    rows = [{"text": f"the cat {n} sat ."} for n in range(5)]
    write_jsonl(books["path"], rows)
    marks = {"start_text": None, "end_text": None}
    found = samples("books", **books, **marks, rows_per_text=2)
    assert [(sample.id, sample.prompt) for sample in found] == [
        ("train_0", "the cat 0 sat . the cat 1 sat ."),
        ("train_2", "the cat 2 sat . the cat 3 sat ."),
        ("train_4", "the cat 4 sat ."),
    ]


def test_articles_and_posts_are_cleaned(tmp_path: Path, folder: str) -> None:
    args = {"tokenizer": folder, "num_held_out": 0, "fix_unicode": False}
    pd.DataFrame({"article": [ARTICLE], "highlights": ["Wet"]}).to_parquet(tmp_path / "a.parquet")
    (found,) = samples("cnndm_queries", path=tmp_path / "a.parquet", **args,
                       reference_column="highlights", prompt_prefix="Article:\n\n")  # fmt: skip
    assert found.prompt == "Article:\n\nRain fell.\n\nIt was wet.\n"
    assert found.references == ("Wet",)
    (tmp_path / "a.csv").write_text('content\n"so\n\n\n\nit ended "\n')
    (found,) = samples("tldr_queries", path=tmp_path / "a.csv", **args)
    assert found.prompt == "so\n\nit ended"


def test_gpt2_reads_what_the_paper_gave_it(tmp_path: Path, data_dir: Path) -> None:
    """Prefix, query and suffix keep their own tokens, which the text as a whole would not give."""
    args = {"tokenizer": str(data_dir / "gpt2-tiny"), "num_held_out": 0, "fix_unicode": False}
    file = write_jsonl(tmp_path / "a.jsonl", [{"article": "usually, he would\nno"}])
    around = {"prompt_prefix": "Article:\n\n", "prompt_suffix": "\n\nTL;DR:"}
    whole = [14906, 25, 628, 23073, 11, 339, 561, 198, 198, 198, 14990, 26, 7707, 25]
    (prompted,) = samples("cnndm_queries", path=file, **args, **around)
    assert list(prompted.token_ids or ()) == whole
    tokenizer = AutoTokenizer.from_pretrained(args["tokenizer"])
    assert tokenizer(prompted.prompt)["input_ids"] != whole
    (found,) = samples("cnndm_queries", path=file, **args)
    assert (found.prompt, list(found.token_ids or ())) == ("usually, he would\n", whole[3:8])
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    policy.prefix, policy.suffix = around.values()
    assert policy.encode_samples([found], 64) == [whole]
    assert policy.encode_samples([found], 12) == [[*whole[:3], *whole[5:]]]
    assert policy.encode_samples([found], 12, "right") == [[*whole[:6], *whole[8:]]]
    write_jsonl(file, [{"text": "Yes. usually, he would . He would."}])
    (found,) = samples("books", path=file, **{k: v for k, v in args.items() if k != "fix_unicode"})
    assert list(found.token_ids or ()) == [3221, 11, 339, 561, 764, 679, 561, 13]


def test_real_articles_fit(data_dir: Path) -> None:
    args = {"tokenizer": str(data_dir / "gpt2-tiny"), "path": data_dir / "cnn_dailymail",
            "fix_unicode": False}  # fmt: skip
    found = samples("cnndm_queries", "val", **args, end_text=None)
    assert len(found) == 100
    assert max(len(sample.token_ids or ()) for sample in found) == 500
    assert not any(sample.prompt.startswith("(CNN)") for sample in found)
    with pytest.raises(UserError, match=r"800 lack the start or the end; set .*'end_text' = '\\n'"):
        samples("cnndm_queries", **args)


@pytest.mark.parametrize(
    ("name", "column", "known", "asked"),
    [
        ("books", "text", "bookcorpus/bookcorpus",
         {"revision": "refs/convert/parquet", "data_dir": "plain_text", "streaming": True}),
        ("cnndm_queries", "article", "abisee/cnn_dailymail:3.0.0", {"name": "3.0.0"}),
        ("tldr_queries", "content", "webis/tldr-17",
         {"revision": "refs/convert/parquet", "data_dir": "default", "streaming": True}),
    ],
)  # fmt: skip
def test_texts_of_the_hub(
    hub: HubCalls, monkeypatch: pytest.MonkeyPatch, folder: str, name: str, column: str,
    known: str, asked: dict[str, Any],
) -> None:  # fmt: skip
    hub.rows[known] = [{column: text.replace(". ", ".\n")} for text in BOOKS]
    args = {"tokenizer": folder, "num_held_out": 4}
    args |= {} if name == "books" else {"fix_unicode": False}
    found = {split: samples(name, split, **args) for split in SPLITS}
    own = name == "cnndm_queries"
    assert [len(found[split]) for split in SPLITS] == ([20, 4, 4] if own else [12, 4, 4])
    names = ["train", "validation", "test"] if own else ["train"] * 3
    assert hub.asked == [(known.partition(":")[0], {**asked, "split": it}) for it in names]
    hub.rows["my/texts"] = [{"body": "One.\nTwo."}]
    mine = samples(name, **args | {"num_held_out": 0}, hub_id="my/texts", text_column="body",
                   hub_streaming=False, revision="v1")  # fmt: skip
    assert len(mine) == 1
    assert hub.asked[-1] == ("my/texts", {"split": "train", "revision": "v1"})


def test_a_branch_of_the_hub_is_streamed(tmp_path: Path, folder: str) -> None:
    """By the library itself, from a folder laid out as the hub's branches of parquet files are."""
    (tmp_path / "plain_text/train").mkdir(parents=True)
    for part in range(2):
        table = pd.DataFrame({"text": BOOKS[part * 10 : (part + 1) * 10]})
        table.to_parquet(tmp_path / f"plain_text/train/000{part}.parquet")
    task: Any = find("books")
    options = {"data_dir": "plain_text", "streaming": True}
    rows = list(Hub(str(tmp_path), options).stream("train"))
    assert [row["text"] for row in rows] == BOOKS
    args = task.Args(tokenizer=folder, hub_id=str(tmp_path / "plain_text"), num_queries=5)
    assert len(task(args).samples("val")) == 20
    with pytest.raises(UserError, match=r"'.*nowhere', streaming=True cannot be loaded from the"):
        task(args.model_copy(update={"hub_id": str(tmp_path / "nowhere")})).samples("val")


def test_a_source_without_queries_is_not_read_to_its_end(
    books: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grue.tasks.queries.task._PATIENCE", 10)
    monkeypatch.setattr("grue.tasks.queries.task._BATCH", 1)
    lines = [json.dumps({"text": text}) for text in ["no stop"] * 10]
    books["path"].write_text("\n".join([*lines, "broken"]))
    with pytest.raises(UserError, match=r"of its first 10 texts 0 give queries: of its texts 10 "
                       r"lack the start or the end; set 'start_text' = '.' and"):  # fmt: skip
        samples("books", **books)
    books["path"].write_text("\n".join([*lines[:9], json.dumps({"text": "A. B."})]))
    assert len(samples("books", **books)) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"text_column": "body"}, r"line 1: has no column 'body'; its columns are text: set "),
        ({"reference_column": "title"}, r"no column 'title'; .*args.reference_column'"),
        ({"start_text": "the cat"}, r"'datapool.args.start_text' = 'the cat': is \d tokens of "),
        ({"tokenizer": "nowhere"}, r"'datapool.args.tokenizer' = 'nowhere': cannot be loaded .*; "
         "name the policy's"),
    ],
)  # fmt: skip
def test_wrong_keys_are_named(books: dict[str, Any], args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        samples("books", **{**books, **args})


def test_values_that_are_no_text_are_named(books: dict[str, Any]) -> None:
    books["path"].write_text(json.dumps({"text": "a. b."}) + "\n" + json.dumps({"text": 3}))
    with pytest.raises(UserError, match=r"line 2, 'text': expected text, found 3"):
        samples("books", **books)


def test_a_missing_package_is_told_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.packages.is_installed", lambda name: False)
    args = find("tldr_queries").Args
    assert [str(problem) for problem in args().missing()] == [
        f"'fix_unicode' = true: needs the package 'ftfy': {pip_install('ftfy')}; or set it to false"
    ]
    assert not list(args(fix_unicode=False).missing())
