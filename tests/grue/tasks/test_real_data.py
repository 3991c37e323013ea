"""Prompts and references of the real data, compared with texts worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grue.tasks.task import Split
from tests.grue.tasks.conftest import parts, samples

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def sizes(name: str, **args: Any) -> list[int]:
    return [len(samples(name, split, **args)) for split in SPLITS]


def raw(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_commongen(data_dir: Path) -> None:
    args = {"path": data_dir / "common_gen", "prefix": "generate a sentence with: ",
            "concept_separator_token": " ", "concept_end_token": "."}  # fmt: skip
    assert sizes("commongen", **args) == [10_000, 993, 1497]
    assert parts(samples("commongen", **args)[:3]) == [
        ("train_0", "generate a sentence with: broccoli cheese chicken pizza.",
         ("A grilled pizza with chicken, broccoli and cheese.",)),
        ("train_1", "generate a sentence with: broccoli cheese chicken pizza.",
         ("The pan pizza topped with broccoli, chicken, and cheese, is ready for the oven",)),
        ("train_2", "generate a sentence with: island sea town.",
         ("old town and sea on the island",)),
    ]  # fmt: skip
    third = samples("commongen", "val", **args)[2]
    assert (third.prompt, len(third.references)) == ("generate a sentence with: cat couch pet.", 4)
    assert third.references[0] == "A pet cat likes to sleep on a couch."
    assert third.metadata == {"concepts": ["cat", "couch", "pet"]}
    assert parts(samples("commongen", "test", **args)[:1]) == [
        ("test_0", "generate a sentence with: drill field run team.", ())
    ]


def test_cnn_daily_mail(data_dir: Path) -> None:
    args = {"path": data_dir / "cnn_dailymail", "prompt_prefix": "Summarize: "}
    assert sizes("cnn_daily_mail", **args) == [800, 100, 100]
    assert sizes("cnn_daily_mail", **args, max_size=150) == [150, 100, 100]
    first, row = samples("cnn_daily_mail", **args)[0], raw(args["path"] / "train.jsonl")[0]
    assert first.prompt.startswith("Summarize: (CNN)Share, and your gift will be multiplied. ")
    assert first.prompt.removeprefix("Summarize: ") == row["article"]
    (highlights,) = first.references
    assert highlights.startswith("Zully Broussard decided to give a kidney to a stranger .\n")


def test_daily_dialog(data_dir: Path) -> None:
    args = {"path": data_dir / "daily_dialog", "context_size": 5}
    lengths = [len(row["dialog"]) for row in raw(args["path"] / "validation.jsonl")]
    found = samples("daily_dialog", "val", **args)
    assert len(found) == sum(max(length - 5, 0) for length in lengths)
    assert lengths[0] == 9 and [sample.id for sample in found[:4]] == ["5", "6", "7", "8"]
    assert found[0].prompt.startswith("Can you manage chopsticks ? <EOU> Why not ? See . <EOU> Go")
    assert found[0].prompt.endswith(" bring out the taste of the food .  <EOU>")
    assert found[0].prompt.count("<EOU>") == 5
    assert found[0].references == (" According to some studies it may cause cancer . <EOU>",)
    intents = [sample.metadata["intent"] for sample in found[:4]]
    assert intents == [[1], [1], [2], [1]]
    assert [sample.metadata["emotion"] for sample in found[:4]] == [[0]] * 4


def test_imdb(data_dir: Path) -> None:
    args = {"path": data_dir / "imdb", "seed": 42}
    assert sizes("imdb", **args) == [1600, 400, 500]
    reviews = [samples("imdb", split, **args) for split in ("train", "val")]
    texts = [sample.references[0] for split in reviews for sample in split]
    assert sorted(texts) == sorted(row["text"] for row in raw(args["path"] / "train.jsonl"))
    (short,) = (s for split in reviews for s in split if s.references[0].startswith("Long, boring"))
    assert short.prompt == "Long, boring, blasphemous. Never have I been"
    assert short.references[0] == f"{short.prompt} so glad to see ending credits roll."

    positive = {row["text"] for row in raw(args["path"] / "train.jsonl") if row["label"] == 1}
    kept = samples("imdb", **args, only_positive_samples=True)
    assert parts(kept) == [part for part in parts(reviews[0]) if part[2][0] in positive]
    halves = samples("imdb_seq2seq", **args)
    assert [s.id for s in halves] == [s.id for s in kept]
    for half, whole in zip(halves, kept, strict=True):
        assert f"{half.prompt} {half.references[0]}" == whole.references[0]
    assert len(samples("imdb_seq2seq", **args, positive_ratio=0.25)) == len(kept) // 4


def test_iwslt2017(data_dir: Path) -> None:
    args = {"path": data_dir / "iwslt2017", "prompt_prefix": "translate English to German: "}
    assert sizes("iwslt2017en_de", **args) == [6000, 888, 2079]
    assert parts(samples("iwslt2017en_de", "val", **args))[3] == (
        "val_3",
        "translate English to German: It expands in winter and contracts in summer.",
        ("Sie wächst im Winter und schrumpft im Sommer.",),
    )


def test_narrative_qa(data_dir: Path) -> None:
    args = {"path": data_dir / "narrativeqa"}
    assert sizes("narrative_qa", **args) == [40, 5, 5]
    first, second, third = samples("narrative_qa", "val", **args)[:3]
    assert first.prompt.startswith(
        "why does ronnie suspect that saddamn is mall robber? \\n an anonymous flasher exposes "
    )
    assert " in his efforts. the next day, ronnie's dream girl, brandi " in first.prompt
    assert first.references == ("saddamn is an arab.", "because he is an arab")
    assert second.references == ("the king was not into royal ceremonies.", "pomp and regality.")
    assert third.prompt.startswith("who was accused of stealing a check? \\n the last chronicle of")


def test_totto(data_dir: Path) -> None:
    args = {"path": data_dir / "totto"}
    assert sizes("totto", **args) == [9, 12, 5]
    train, val, test = (samples("totto", split, **args) for split in SPLITS)
    cells = "<table> <cell> 15.3 <col_header> PPG </col_header> </cell> </table>"
    assert train[5].prompt == (
        f"{cells}<page_title> Tobias Harris </page_title> "
        f"<section_title> College </section_title> {cells}"
    )
    assert train[5].references == ("Tobias Harris scored 15.3 points per game.",)
    cells = (
        "<table> <cell> Elagabalus Severan dynastyBorn: c.204 Died: 11 March 222 </cell> <cell> "
        "Roman Emperor 218–222 <col_header> Regnal titles </col_header> </cell> </table>"
    )
    assert train[4].prompt == (
        f"{cells}<page_title> Elagabalus </page_title> "
        f"<section_title> External links </section_title> {cells}"
    )
    assert [len(sample.references) for sample in val] == [3, 3, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3]
    assert {sample.references for sample in test} == {()}
    tables = [[s.metadata["raw_table"] for s in split] for split in (train, val, test)]
    assert [t["overlap_subset"] for t in tables[0]] == [False] * 9
    assert [t["overlap_subset"] for t in tables[1]] == (
        [True] * 6 + [False, True, True, False, False, False]
    )
    assert [len(t["sentence_annotations"]) for t in tables[2]] == [0] * 5
    assert tables[1][8]["sentence_annotations"][0]["final_sentence"] == (
        "Demetrius was a King of Cyrene."
    )
    assert tables[0][0]["example_id"] == "1762238357686640028"
    for sample in samples("totto", "val", **args, representation="fulltable"):
        places = sample.metadata["raw_table"]["highlighted_cells"]
        assert sample.prompt.count("</highlighted_cell>") == 2 * len(places)


def test_text(data_dir: Path) -> None:
    file = data_dir / "tinyshakespeare/input.txt"
    found = [
        samples("text", split, path=file, held_out=0.1, size=50) for split in SPLITS
    ]  # fmt: skip
    words = [word for split in found for s in split for word in s.references[0].split()]
    assert words == file.read_text(encoding="utf-8").split()
    assert found[0][0].references[0].startswith("First Citizen:\nBefore we proceed any further")
