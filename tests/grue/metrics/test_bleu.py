from __future__ import annotations

import math
from collections import Counter

import pytest
from sacrebleu.metrics import BLEU

from common.errors import UserError
from grue.metrics.bleu import SacreBleu, SacreBleuArgs
from tests.grue.metrics.parts import CAT, corpus, make, scores

RUN = "a dog runs in the big park today", "a dog runs in the park today"
LONG = "the cat sat on the mat today", "the cat sat on the mat"
GERMAN = "Das ist ein Test.", "Das ist ein kleiner Test."


@pytest.mark.parametrize(
    ("pair", "args", "value"),
    [
        (CAT, {}, 0.379918),
        ((*CAT, "there is a cat on the mat"), {}, 0.379918),
        (("hello world", "hello world"), {}, 0.0),
        (("hello there my friend", "hello there my friend"), {}, 1.0),
        (GERMAN, {"tokenize": "intl"}, 0.409365),
    ],
)
def test_golden_values(pair: tuple[str, ...], args: dict[str, str], value: float) -> None:
    assert scores("sacre_bleu", pair, **args)[0] == pytest.approx(value, abs=5e-7)


def test_golden_value_of_two_outputs_together() -> None:
    assert corpus("sacre_bleu", CAT, RUN) == pytest.approx(0.488923, abs=5e-7)
    assert scores("sacre_bleu", CAT, RUN).mean() == pytest.approx(0.487261, abs=5e-7)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"smooth_method": "floor", "smooth_value": 0.3},
        {"smooth_method": "add-k"},
        {"smooth_method": "none"},
        {"lowercase": True, "tokenize": "char"},
        {"use_effective_order": True},
    ],
)
def test_the_library_agrees(args: dict[str, object]) -> None:
    library_args = {key.removeprefix("use_"): value for key, value in args.items()}
    library = BLEU(**library_args, force=True)
    pairs = [
        (*CAT, "so the cat sat on a mat, there"), (*RUN, "a dog"), ("The CAT", "the cat", "THE"),
        ("", "x", "y z"), ("a b c d e", "a b c d", "a b c d e f"), ("trailing  ", "trailing", " "),
    ]  # fmt: skip
    for pair, found in zip(pairs, scores("sacre_bleu", *pairs, **args), strict=True):
        assert found == library.corpus_score([pair[0]], [[pair[1]], [pair[2]]]).score / 100
    outputs = [pair[0] for pair in pairs]
    references = [[pair[1] for pair in pairs], [pair[2] for pair in pairs]]
    expected = library.corpus_score(outputs, references).score / 100
    assert corpus("sacre_bleu", *pairs, **args) == pytest.approx(expected, rel=1e-14)


def test_inputs_with_as_many_references_form_a_group() -> None:
    ones, twos = [CAT, RUN, LONG], [(*CAT, "a cat sat on the mat")]
    expected = (3 * corpus("sacre_bleu", *ones) + corpus("sacre_bleu", *twos)) / 4
    found = corpus("sacre_bleu", ones[0], twos[0], *ones[1:])
    assert found == pytest.approx(expected, rel=1e-14)
    assert found != pytest.approx(corpus("sacre_bleu", *ones, (*twos[0][:2],)), rel=1e-3)


def test_a_tokenizer_that_lacks_its_package_is_told_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sacrebleu.tokenizers import tokenizer_ja_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    with pytest.raises(UserError, match=r"'tokenize' = 'ja-mecab'(?s:.*)pip install"):
        SacreBleu(SacreBleuArgs(tokenize="ja-mecab")).prepare()
    make("sacre_bleu").prepare()


def plain_bleu(pairs: list[tuple[str, ...]]) -> float:
    """BLEU by its definition, with the shortest reference's length."""
    shared, total = Counter(), Counter()
    length = reference_length = 0
    for output, *references in pairs:
        words = output.split()
        length += len(words)
        reference_length += min(len(reference.split()) for reference in references)
        for n in range(1, 5):
            allowed: Counter[tuple[str, ...]] = Counter()
            for reference in references:
                allowed |= grams(reference.split(), n)
            own = grams(words, n)
            shared[n] += (own & allowed).total()
            total[n] += own.total()
    if not all(shared[n] for n in range(1, 5)):
        return 0.0
    penalty = min(1.0, math.exp(1 - reference_length / length))
    return penalty * math.exp(sum(math.log(shared[n] / total[n]) for n in range(1, 5)) / 4)


def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def test_bleu_by_its_definition() -> None:
    cases = [
        LONG,
        RUN,
        ("the cat sat on the mat", "the cat sat on the mat with a dog", "so the cat sat on it"),
        ("The cat , sat on", "The cat , sat on a mat"),
        CAT,
        ("short", "short"),
        ("", "x"),
        ("x", ""),
    ]
    for case in cases:
        assert scores("bleu", case)[0] == pytest.approx(plain_bleu([case]), rel=1e-12)
    assert corpus("bleu", *cases) == pytest.approx(plain_bleu(cases), rel=1e-12)
    assert plain_bleu(cases) > 0


def test_bleu_takes_the_shortest_reference() -> None:
    """The closest one would be longer than the output, and cost it."""
    pair = "a b c d e", "a b c d e f", "a b c"
    assert scores("bleu", pair)[0] == pytest.approx(1)
    assert scores("sacre_bleu", ("a b c d e", "a b c d e f"))[0] < 1


@pytest.mark.parametrize("name", ["bleu", "sacre_bleu"])
def test_a_perfect_copy_has_one(name: str) -> None:
    assert scores(name, (LONG[0], "else", LONG[0]))[0] == pytest.approx(1)
