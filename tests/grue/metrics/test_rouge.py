from __future__ import annotations

import pytest

from grue.metrics.rouge_l_max import common_positions, cut_characters, cut_words
from tests.grue.metrics.parts import CAT, DOG, ROUGE, make, scores, texts

PUBLISHED = {
    "max_n": 4, "limit_length": True, "length_limit": 100, "length_limit_type": "words",
    "apply_avg": True, "apply_best": True, "alpha": 0.5, "weight_factor": 1.2, "stemming": True,
}  # fmt: skip


def test_golden_values_of_rouge() -> None:
    found = make("rouge").scores(texts(CAT))
    assert list(found) == ROUGE
    expected = dict(zip(ROUGE, [0.833333, 0.6, 0.833333, 0.833333], strict=True))
    assert {key: values[0] for key, values in found.items()} == pytest.approx(expected, abs=5e-7)


def test_rouge_compares_words_by_their_stems() -> None:
    for values in make("rouge").scores(texts(("boys picking apples", "boy picked apple"))).values():
        assert values[0] == 1


def test_rouge_takes_the_first_reference_or_the_best_one_of_each_kind() -> None:
    pair = "a b c d", "a c b d", "a b x y"
    first = make("rouge").scores(texts(pair))
    best = make("rouge", use_single_ref=False).scores(texts(pair))
    assert [first[key][0] for key in ROUGE] == pytest.approx([1, 0, 0.75, 0.75])
    assert [best[key][0] for key in ROUGE] == pytest.approx([1, 1 / 3, 0.75, 0.75])


def test_rouge_of_one_text_made_of_all_references() -> None:
    """rouge-score drops brackets and quotes, so only the length of the text tells."""
    as_published = {"use_single_ref": False, "stringify_references": True}
    one = make("rouge", **as_published).scores(texts(DOG))
    assert [values[0] for values in one.values()] == [1, 1, 1, 1]
    two = make("rouge", **as_published).scores(texts((DOG[0], DOG[1], "a cat")))
    assert two["lexical/rouge_rouge1"][0] == pytest.approx(2 * 6 / (6 + 8))
    with_first_alone = make("rouge", stringify_references=True).scores(texts((*DOG, "a cat")))
    assert with_first_alone["lexical/rouge_rouge1"][0] == 1


def test_the_sum_of_lines_is_another_kind_of_rouge() -> None:
    found = make("rouge").scores(texts(("b b b\na a a", "a a a\nb b b")))
    assert found["lexical/rouge_rougeL"][0] == 0.5
    assert found["lexical/rouge_rougeLsum"][0] == 1


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        (CAT, 0.859044),
        (("he is a high school student in phoenix", "a high school student", "phoenix, arizona"),
         0.718960),
        (("", "the cat is on the mat"), 0),
    ],
)  # fmt: skip
def test_golden_values_of_rouge_l_max(pair: tuple[str, ...], value: float) -> None:
    assert scores("rouge_l_max", pair, **PUBLISHED)[0] == pytest.approx(value, abs=5e-7)


def test_rouge_l_max_without_the_exponent_is_rouge_l() -> None:
    assert scores("rouge_l_max", CAT)[0] == pytest.approx(0.833333, abs=5e-7)


def test_irregular_forms_have_stems_of_their_own() -> None:
    """py-rouge looks "went" up and gives 1; here two of three words are equal."""
    pair = "he went home", "he goes home."
    assert scores("rouge_l_max", pair, **PUBLISHED)[0] == pytest.approx((2 / 3) ** (1 / 1.2))
    assert scores("rouge_l_max", ("she walks", "she walked"))[0] == 1
    assert scores("rouge_l_max", ("she walks", "she walked"), stemming=False)[0] == 0.5


def test_alpha_weighs_precision() -> None:
    pair = "a b", "a b c d"
    assert scores("rouge_l_max", pair, alpha=1.0)[0] == 1
    assert scores("rouge_l_max", pair, alpha=0.0)[0] == 0.5
    assert scores("rouge_l_max", pair)[0] == pytest.approx(2 / 3)


def test_marks_do_not_count_and_cannot_is_one_word() -> None:
    assert scores("rouge_l_max", ("I cannot, GO!", "i cannot go"))[0] == 1
    pair = "cannot go", "can not go"
    assert scores("rouge_l_max", pair)[0] == pytest.approx(2 * (1 / 2) * (1 / 3) / (5 / 6))
    assert scores("rouge_l_max", ("gonna", "gon na"))[0] == 1


def test_rouge_l_max_takes_lines_in_any_order() -> None:
    assert scores("rouge_l_max", ("b b\na a", "a a\nb b"))[0] == 1
    assert scores("rouge_l_max", ("b b a a", "a a b b"))[0] == 0.5


def test_a_word_hits_as_often_as_the_output_has_it() -> None:
    hits, num_output, num_reference = 1, 1, 4
    precision, recall = hits / num_output, hits / num_reference
    expected = 2 * precision * recall / (precision + recall)
    assert scores("rouge_l_max", ("a", "a a\na a"))[0] == pytest.approx(expected)


def test_long_texts_are_cut() -> None:
    lines = ["one two", "three four five", "six"]
    assert cut_words(lines, 4) == ["one two", "three four"]
    assert cut_words(lines, 2) == ["one two"]
    assert cut_words(lines, 100) == lines
    assert cut_characters([" one two ", "three"], 9) == ["one two", "th"]
    limit = {"length_limit": 2, "length_limit_type": "words"}
    assert scores("rouge_l_max", ("a b x y", "a b c"), **limit)[0] == 1
    assert scores("rouge_l_max", ("a b x y", "a b c"), **limit, limit_length=False)[0] < 1


def test_one_of_the_longest_common_subsequences() -> None:
    assert common_positions(["a", "b", "c", "d"], ["b", "d"]) == [3, 1]
    assert common_positions([], ["a"]) == common_positions(["a"], []) == []
    assert len(common_positions(list("abcbdab"), list("bdcaba"))) == 4
