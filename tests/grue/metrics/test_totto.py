"""PARENT and BLEU of ToTTo: a golden value, identities, subsets, and real tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from grue import metrics, rewards
from grue.metrics.parent import parent
from grue.metrics.totto import tables as totto
from grue.texts import Texts
from tests.grue.made_texts import made_texts

REFERENCE = "In 2001, Jane Doe played the lead in Star."
OUTPUT = "Jane Doe played lead in Star."
F_SCORE = "table_to_text/parent_overall_f_score"


def cell(value: str, is_header: bool = False) -> dict[str, object]:
    return {"value": value, "is_header": is_header, "column_span": 1, "row_span": 1}


def jane(overlap: bool = True) -> dict[str, object]:
    return {
        "table": [
            [cell("Year", True), cell("Title", True), cell("Role", True)],
            [cell("2001", True), cell("Star"), cell("Lead"), cell("x")],
            [cell("2004"), cell("Moon"), cell("Cameo"), cell("y")],
        ],
        "highlighted_cells": [[1, 1], [1, 2], [2, 3]],
        "table_page_title": "Jane Doe",
        "table_section_title": "Films",
        "table_section_text": "Some text",
        "overlap_subset": overlap,
    }


def jane_texts(outputs: list[str], overlap: list[bool] | None = None) -> Texts:
    rows = [jane(member) for member in overlap or [True] * len(outputs)]
    return made_texts(outputs, [[REFERENCE]] * len(outputs), [{"raw_table": row} for row in rows])


def build(name: str):
    metric = metrics.find(name)
    return metric(metric.Args())


def test_golden_value() -> None:
    found = build("parent_totto").scores(jane_texts([OUTPUT]))
    assert {key: round(float(value[0]), 6) for key, value in found.items()} == {
        "table_to_text/parent_overall/precision": 0.842643,
        "table_to_text/parent_overall/recall": 0.463167,
        F_SCORE: 0.597766,
    }
    reward = rewards.find("parent")
    assert reward(reward.Args())(jane_texts([OUTPUT])).round(6).tolist() == [0.597766]


def test_a_copy_of_four_words_from_the_table_is_perfect() -> None:
    text = ["a", "b", "c", "d"]
    found = parent(text, [text], set(text), [["a"], ["c", "d"]])
    assert found[:2] == (1, 1)
    assert found.f_score == pytest.approx(2 / (2 + 1e-8), rel=1e-15)


def test_orders_that_an_output_lacks_count_as_a_hundred_thousandth() -> None:
    """Two words: precision is the geometric mean of 1, 1, 1e-5 and 1e-5; recall is whole."""
    found = parent(["a", "b"], [["a", "b"]], {"a", "b"}, [["a", "b"]])
    assert found.precision == pytest.approx(10**-2.5, rel=1e-12)
    assert found.recall == 1


def test_recall_weighs_the_table_by_what_the_reference_leaves_out() -> None:
    """The reference tells one of two entries: half of recall's weight is the table's.

    Of the reference's n-grams within the table the output has all, and both entries.
    """
    output = ["a", "b", "c", "d", "e"]
    found = parent(output, [output[:4]], set(output), [["a"], ["e"]])
    assert found.recall == pytest.approx(1, rel=1e-12)
    found = parent(output[:4], [output[:4]], set(output), [["a"], ["e"]])
    assert found.recall == pytest.approx(math.sqrt(0.5), rel=1e-12)


def test_precision_takes_the_table_where_the_reference_does_not_speak() -> None:
    """Of words the reference has one "a" of two, the table "b": (1 + 1 + 0 + 0) / 4.

    No longer n-gram of the output is in the reference; the share of "b" in pairs is 1 / 2, 1 / 2,
    0, in triples 1 / 3, 1 / 3, and in all four 1 / 4.
    """
    found = parent(["a", "b", "c", "a"], [["a"]], {"b"}, [["b"]])
    product = 2 / 4 * (1 / 2 + 1 / 2 + 0) / 3 * (1 / 3 + 1 / 3) / 2 * 1 / 4
    assert found.precision == pytest.approx(product ** (1 / 4), rel=1e-12)


def test_order_of_entries_and_repeats_of_words_count() -> None:
    assert parent(["b", "a"], [["x"]], set(), [["a", "b"]]).recall == pytest.approx(0.5)
    assert parent(["a", "b"], [["x"]], set(), [["a", "b"]]).recall == pytest.approx(1)


def test_the_best_reference_counts() -> None:
    texts = made_texts([OUTPUT], [["Nothing of it.", OUTPUT, "Else"]], [{"raw_table": jane()}])
    metric = build("parent_totto")
    assert metric.scores(texts)["table_to_text/parent_overall/precision"] == pytest.approx(1)


def test_empty_outputs_and_single_words_have_values() -> None:
    texts = jane_texts(["", "\n", "star", "Jane", "<null>"])
    found = build("parent_totto").scores(texts)
    assert all(np.isfinite(values).all() for values in found.values())
    assert found[F_SCORE][0] == found[F_SCORE][1] == found[F_SCORE][4] < 1e-4
    assert found[F_SCORE][2] > found[F_SCORE][0]


def test_a_table_without_values_has_values() -> None:
    row = jane() | {"highlighted_cells": [], "table_page_title": "", "table_section_title": " "}
    texts = made_texts([OUTPUT, ""], [[REFERENCE]] * 2, [{"raw_table": row}] * 2)
    assert np.isfinite(build("parent_totto").scores(texts)[F_SCORE]).all()


def test_outputs_together_equal_outputs_alone() -> None:
    outputs = [OUTPUT, "", "Moon", REFERENCE, OUTPUT]
    together = jane_texts(outputs)
    for name in ("parent_totto", "bleu_totto"):
        found = build(name).scores(together)
        for row in range(len(outputs)):
            alone = build(name).scores(together[row : row + 1])
            assert {key: [values[row]] for key, values in found.items()} == {
                key: values.tolist() for key, values in alone.items()
            }


def test_subsets_have_their_own_means() -> None:
    outputs, overlap = [OUTPUT, REFERENCE, "Moon"], [True, False, True]
    texts = jane_texts(outputs, overlap)
    metric = build("parent_totto")
    values, found = metric.scores(texts)[F_SCORE], metric.corpus(texts)
    assert found[F_SCORE] == pytest.approx(values.mean())
    assert found["table_to_text/parent_overlap_f_score"] == pytest.approx(values[[0, 2]].mean())
    assert found["table_to_text/parent_non_overlap_f_score"] == values[1]
    assert len(found) == 9

    bleu = build("bleu_totto")
    assert bleu.corpus(texts) == {
        "table_to_text/bleu_overall": pytest.approx(bleu.corpus(jane_texts(outputs))[
            "table_to_text/bleu_overall"]),
        "table_to_text/bleu_overlap": bleu.corpus(jane_texts([OUTPUT, "Moon"]))[
            "table_to_text/bleu_overall"],
        "table_to_text/bleu_non_overlap": pytest.approx(1),
    }  # fmt: skip


def test_a_subset_without_members_is_zero() -> None:
    found = build("parent_totto").corpus(jane_texts([OUTPUT]))
    found |= build("bleu_totto").corpus(jane_texts([OUTPUT]))
    assert {value for key, value in found.items() if "non_overlap" in key} == {0}


def test_texts_are_compared_in_lower_case_and_detokenised() -> None:
    assert totto.prepared("He said , \n HELLO .") == "he said, hello."
    assert totto.prepared(" \n") == "<null>"
    assert totto.prepared_references(["A", "B", "C", "D"]) == ["a", "b", "c"]
    assert totto.prepared_references(["A"]) == ["a", "<null>", "<null>"]


def test_bars_in_tables_are_hyphens() -> None:
    row = jane() | {"table_page_title": "A|B"}
    assert ["a-b"] in list(totto.highlighted(row))
    assert ["some", "text"] in list(totto.whole_table(row))
    assert ["some", "text"] not in list(totto.highlighted(row))


@pytest.mark.parametrize("name", ["parent_totto", "bleu_totto"])
def test_what_is_missing_is_named(name: str) -> None:
    metric = build(name)
    with pytest.raises(UserError, match=f"'{name}' needs references, and the input 'the prompt'"):
        metric.corpus(made_texts(["a"]))
    with pytest.raises(UserError, match=f"'{name}' needs the table of each input"):
        metric.corpus(made_texts(["a"], [["b"]]))


def test_real_sentences_beat_those_of_other_tables(data_dir: Path) -> None:
    path = data_dir / "totto" / "validation.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    sentences = [row["sentence_annotations"]["final_sentence"] for row in rows]
    metadata = [{"raw_table": row} for row in rows]
    first = [each[0] for each in sentences]
    own = build("parent_totto").scores(made_texts(first, sentences, metadata))
    other = build("parent_totto").scores(made_texts(first[1:] + first[:1], sentences, metadata))
    assert (own[F_SCORE] > other[F_SCORE]).all()
    assert build("bleu_totto").scores(made_texts(first, sentences, metadata))[
        "table_to_text/bleu_overall"] == pytest.approx(1)  # fmt: skip
