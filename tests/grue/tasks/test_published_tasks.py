"""Prompts, references, splits and filters of the published tasks, on made-up data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from grue.tasks.task import Split
from tests.grue.tasks.conftest import parts, samples, write_jsonl

SPLITS: tuple[tuple[Split, str], ...] = (("train", "train"), ("val", "dev"), ("test", "test"))
PAIRS = [{"translation": {"en": f"{n} cats", "de": f"{n} Katzen"}} for n in ("two", "three")]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("iwslt2017en_de", {}),
        ("wmt16newsonly", {}),
        ("wmt14_processed_en_de", {}),
        ("wmt16", {"wmt_id": "wmt16", "source_language": "en", "target_language": "de"}),
    ],
)
@pytest.mark.parametrize(("split", "stem"), SPLITS)
def test_translation(
    tmp_path: Path, name: str, args: dict[str, Any], split: Split, stem: str
) -> None:
    write_jsonl(tmp_path / f"{stem}.jsonl", PAIRS)
    found = samples(name, split, path=tmp_path, prompt_prefix="To German: ", prompt_suffix=" =",
                    **args)  # fmt: skip
    assert parts(found) == [
        (f"{split}_0", "To German: two cats =", ("two Katzen",)),
        (f"{split}_1", "To German: three cats =", ("three Katzen",)),
    ]


def test_translation_goes_the_way_that_is_asked_for(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "train.jsonl", PAIRS)
    args = {"wmt_id": "wmt16", "path": file}
    back = samples("wmt16", **args, source_language="de", target_language="en")
    assert parts(back)[0] == ("train_0", "two Katzen", ("two cats",))
    with pytest.raises(UserError, match="line 1, 'translation': needs the languages en and fr"
                       "; found en, de"):  # fmt: skip
        samples("wmt16", **args, source_language="en", target_language="fr")


CONCEPTS = [
    {"concept_set_idx": 7, "concepts": ["dog", "run"], "target": "A dog runs."},
    {"concept_set_idx": 3, "concepts": ["cat", "sit"], "target": "A cat sits."},
    {"concept_set_idx": 7, "concepts": ["dog", "run"], "target": "Dogs run."},
]


def test_commongen_trains_on_rows_and_evaluates_on_concept_sets(tmp_path: Path) -> None:
    for stem in ("train", "validation"):
        write_jsonl(tmp_path / f"{stem}.jsonl", CONCEPTS)
    assert parts(samples("commongen", path=tmp_path)) == [
        ("train_0", "summarize: dog run ", ("A dog runs.",)),
        ("train_1", "summarize: cat sit ", ("A cat sits.",)),
        ("train_2", "summarize: dog run ", ("Dogs run.",)),
    ]
    args = {"path": tmp_path, "prefix": "say: ", "concept_separator_token": ", ",
            "concept_end_token": "."}  # fmt: skip
    found = samples("commongen", "val", **args)
    assert parts(found) == [
        ("val_0", "say: dog, run.", ("A dog runs.", "Dogs run.")),
        ("val_1", "say: cat, sit.", ("A cat sits.",)),
    ]
    assert [sample.metadata for sample in found] == [
        {"concepts": ["dog", "run"]},
        {"concepts": ["cat", "sit"]},
    ]
    single = samples("commongen", "val", **args, single_reference=True)
    assert [sample.references for sample in single] == [("A dog runs.",), ("A cat sits.",)]


def test_commongen_hidden_sentences_are_no_references(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [{**row, "target": ""} for row in CONCEPTS])
    found = samples("commongen", "test", path=tmp_path)
    assert [sample.references for sample in found] == [()] * 2


def test_lists_and_numbers_in_csv_files(tmp_path: Path) -> None:
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(CONCEPTS[0]))
        writer.writeheader()
        writer.writerows({**row, "concepts": json.dumps(row["concepts"])} for row in CONCEPTS)
    from_csv = samples("commongen", path=tmp_path)
    assert [sample.prompt for sample in from_csv] == [
        f"summarize: {' '.join(row['concepts'])} " for row in CONCEPTS
    ]


ARTICLES = [{"article": f"News {n}. It rains.", "highlights": f"h{n}", "id": n} for n in range(3)]


@pytest.mark.parametrize(("split", "stem"), SPLITS)
def test_cnn_daily_mail(tmp_path: Path, split: Split, stem: str) -> None:
    write_jsonl(tmp_path / f"{stem}.jsonl", ARTICLES)
    found = samples("cnn_daily_mail", split, path=tmp_path, prompt_prefix="Summarize: ",
                    prompt_suffix=" TL;DR:", max_size=2)  # fmt: skip
    assert parts(found) == [
        (f"{split}_0", "Summarize: News 0. It rains. TL;DR:", ("h0",)),
        (f"{split}_1", "Summarize: News 1. It rains. TL;DR:", ("h1",)),
    ]
    assert len(samples("cnn_daily_mail", split, path=tmp_path)) == 3


def test_cnn_articles_are_cut_by_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    write_jsonl(tmp_path / "train.jsonl", ARTICLES[:1])
    monkeypatch.setattr(nltk, "word_tokenize", lambda text: text.replace(".", " .").split())
    (cut,) = samples("cnn_daily_mail", path=tmp_path, truncate_article=4)
    assert cut.prompt == "News 0 . It"

    def without_model(text: str) -> list[str]:
        raise LookupError("punkt_tab")

    monkeypatch.setattr(nltk, "word_tokenize", without_model)
    with pytest.raises(UserError, match=r"'datapool.args.truncate_article' needs .* punkt_tab"):
        samples("cnn_daily_mail", path=tmp_path, truncate_article=4)


DIALOGUES = [
    {"dialog": ["a ", " b ", " c ", " d "], "act": [1, 2, 3, 4], "emotion": [0, 4, 5, 6]},
    {"dialog": ["e "], "act": [1], "emotion": [0]},
    {"dialog": ["f ", " g ", " h"], "act": [2, 1, 2], "emotion": [0, 0, 1]},
]


@pytest.mark.parametrize(("split", "stem"), SPLITS)
def test_daily_dialog(tmp_path: Path, split: Split, stem: str) -> None:
    write_jsonl(tmp_path / f"{stem}.jsonl", DIALOGUES)
    found = samples("daily_dialog", split, path=tmp_path, context_size=2)
    assert parts(found) == [
        ("2", "a <EOU> b  <EOU>", (" c <EOU>",)),
        ("3", " b <EOU> c  <EOU>", (" d <EOU>",)),
        ("7", "f <EOU> g  <EOU>", (" h<EOU>",)),
    ]
    assert [sample.metadata for sample in found] == [
        {"emotion": [5], "intent": [3]},
        {"emotion": [6], "intent": [4]},
        {"emotion": [1], "intent": [2]},
    ]


def test_daily_dialog_needs_labels_for_each_turn(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [*DIALOGUES, {**DIALOGUES[0], "act": [1]}])
    with pytest.raises(UserError, match="line 4: 4 turns have 1 acts and 4 emotions"):
        samples("daily_dialog", path=file, context_size=2)


QUESTIONS = [
    {
        "document": {"summary": {"text": "Ann\nmeets  Bob."}},
        "question": {"text": "Who meets Bob? "},
        "answers": [{"text": " Ann "}, {"text": "It is ANN"}],
    },
    {
        "document": {"summary": {"text": "It ends."}},
        "question": {"text": "What ends?"},
        "answers": [{"text": "it"}],
    },
]


@pytest.mark.parametrize(("split", "stem"), SPLITS)
def test_narrative_qa_prompts_have_the_published_form(
    tmp_path: Path, split: Split, stem: str
) -> None:
    write_jsonl(tmp_path / f"{stem}.jsonl", QUESTIONS)
    assert parts(samples("narrative_qa", split, path=tmp_path)) == [
        (f"{split}_0", "who meets bob? \\n ann meets bob.", ("ann", "it is ann")),
        (f"{split}_1", "what ends? \\n it ends.", ("it",)),
    ]


@pytest.mark.parametrize("kind", ["tsv", "jsonl"])
def test_narrative_qa_reads_prompts_with_one_answer_a_line(tmp_path: Path, kind: str) -> None:
    lines = [('Who? \\n  A "b', "Ann "), ("What? \\n c", "None"), ('Who? \\n  A "b', "NA")]
    if kind == "tsv":
        text = "".join(f"{prompt}\t{answer}\n" for prompt, answer in lines)
        (tmp_path / "dev.tsv").write_text(text)
    else:
        rows = [{"prompt": prompt, "answer": answer} for prompt, answer in lines]
        write_jsonl(tmp_path / "dev.jsonl", rows)
    assert parts(samples("narrative_qa", "val", path=tmp_path)) == [
        ("val_0", 'who? \\n  a "b', ("ann", "na")),
        ("val_1", "what? \\n c", ("none",)),
    ]


def test_narrative_qa_lines_have_two_columns(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a\tb\nc\n")
    with pytest.raises(UserError, match="line 2: expected a prompt, a tab and an answer; found 1"):
        samples("narrative_qa", path=tmp_path)


def test_narrative_qa_names_what_a_row_lacks(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{**QUESTIONS[0], "document": {"summary": {}}}])
    with pytest.raises(UserError, match=r"line 1, 'document.summary.text': Field required"):
        samples("narrative_qa", path=file)


TURNS = [
    {"NAMES": ["MATT", "SAM"], "UTTERANCES": ["Hello", "all."], "NUMBER": 0},
    {"NAMES": ["LIAM"], "UTTERANCES": ["Hi."], "NUMBER": 1},
    {"NAMES": ["SAM", "LIAM"], "UTTERANCES": ["Shall", "we?"], "NUMBER": 2},
    {"NAMES": ["MATT"], "UTTERANCES": ["Yes."], "NUMBER": 3},
]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("as_repository", [True, False])
def test_crd3(tmp_path: Path, split: Split, as_repository: bool) -> None:
    if as_repository:
        lists, episodes = tmp_path / "data/aligned data", tmp_path / "data/cleaned data"
        lists.mkdir(parents=True)
        episodes.mkdir()
        (lists / f"{split}_files").write_text("C1E002\nC1E001\n")
        for name, turns in (("C1E001", TURNS), ("C1E002", TURNS[:2])):
            (episodes / f"{name}.json").write_text(json.dumps({"TURNS": turns}, indent=2))
    else:
        write_jsonl(tmp_path / f"{split}.jsonl", [{"TURNS": TURNS[:2]}, {"TURNS": TURNS}])
    assert parts(samples("crd3", split, path=tmp_path, max_context_size=2)) == [
        (f"{split}_ep_1_turn_2", "MATT: Hello all.\nLIAM: Hi.\nSAM: ", ("Shall we?",)),
        (f"{split}_ep_1_turn_3", "LIAM: Hi.\nSAM: Shall we?\nMATT: ", ("Yes.",)),
    ]
    (first, _) = samples("crd3", split, path=tmp_path, max_context_size=1)
    assert first.prompt == "LIAM: Hi.\nSAM: "
    (_, last) = samples("crd3", split, path=tmp_path, max_context_size=9)
    assert last.prompt == "MATT: Hello all.\nLIAM: Hi.\nSAM: Shall we?\nMATT: "


def test_crd3_names_missing_episodes(tmp_path: Path) -> None:
    lists = tmp_path / "data/aligned data"
    lists.mkdir(parents=True)
    with pytest.raises(UserError, match="train_files': the file cannot be read"):
        samples("crd3", path=tmp_path, max_context_size=2)
    (lists / "train_files").write_text("\n")
    with pytest.raises(UserError, match="train_files names no episode"):
        samples("crd3", path=tmp_path, max_context_size=2)
    (lists / "train_files").write_text("C1E001\n")
    with pytest.raises(UserError, match=r"C1E001.json': the file cannot be read"):
        samples("crd3", path=tmp_path, max_context_size=2)


def test_crd3_turns_have_a_speaker(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"TURNS": [{"NAMES": [], "UTTERANCES": ["a"]}]}])
    with pytest.raises(UserError, match=r"line 1, 'TURNS.0.NAMES'"):
        samples("crd3", path=file, max_context_size=2)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_dummy_pool_repeats_its_prompt(split: Split) -> None:
    found = samples("dummy_pool", split, prompt="<|endoftext|>", n_samples=3)
    assert parts(found) == [(str(i), "<|endoftext|>", ()) for i in range(3)]
    assert len(samples("dummy_pool", split, prompt="a")) == 100


@pytest.mark.parametrize(
    ("name", "args", "needed"),
    [
        ("commongen", {}, "concept_set_idx, concepts, target"),
        ("cnn_daily_mail", {}, "article, highlights"),
        ("daily_dialog", {"context_size": 1}, "dialog, act, emotion"),
        ("imdb", {"seed": 0}, "text, label"),
        ("imdb_seq2seq", {"seed": 0}, "text, label"),
        ("iwslt2017en_de", {}, "translation"),
        ("narrative_qa", {}, "document, question, answers"),
        ("totto", {}, "table, highlighted_cells, table_page_title, table_section_title, "
         "table_section_text"),
        ("crd3", {"max_context_size": 1}, "TURNS"),
    ],
)  # fmt: skip
def test_missing_columns_are_named(
    tmp_path: Path, name: str, args: dict[str, Any], needed: str
) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"x": 1, "y": 2}])
    with pytest.raises(UserError, match=f"a.jsonl': needs the columns {needed}; found x, y$"):
        samples(name, path=file, **args)
    file.write_text("\n")
    with pytest.raises(UserError, match=r"a.jsonl': there are no rows; at least one is needed$"):
        samples(name, path=file, **args)
