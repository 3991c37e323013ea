from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics import CHRF, TER

from tests.grue.metrics.parts import CAT, DOG, corpus, make, scores, texts

UNEVEN = [(*CAT, "there sat a cat"), DOG, ("many more words than there", "ought to be", "one")]


def test_golden_values() -> None:
    assert scores("ter", CAT)[0] == pytest.approx(0.166667, abs=5e-7)
    assert scores("chrf", CAT)[0] == pytest.approx(0.645779, abs=5e-7)


def test_copies() -> None:
    assert scores("ter", ("x y", "z", "X Y"), DOG).tolist() == [0, 0]
    assert scores("chrf", ("x y", "z", "x y"), DOG) == pytest.approx([1, 1])


def test_nothing_to_edit_and_nothing_to_compare_with() -> None:
    assert scores("ter", ("", "a b"), ("a", ""), ("", "")).tolist() == [1, 1, 0]


@pytest.mark.parametrize(("name", "library"), [("ter", TER()), ("chrf", CHRF())])
def test_the_library_agrees_on_all_outputs_together(name: str, library: TER | CHRF) -> None:
    outputs = [pair[0] for pair in UNEVEN]
    references = [
        [UNEVEN[0][1], UNEVEN[1][1], UNEVEN[2][1]],
        [UNEVEN[0][2], None, UNEVEN[2][2]],
    ]
    expected = library.corpus_score(outputs, references).score / 100
    assert corpus(name, *UNEVEN) == pytest.approx(expected, rel=1e-14)
    assert corpus(name, *UNEVEN) != pytest.approx(scores(name, *UNEVEN).mean(), rel=1e-3)


def test_length_counts_words_and_needs_no_references() -> None:
    pairs = texts(("a dog's  life\n.",), ("",), (" ",))
    found = make("length").scores(pairs)["lexical/length"]
    assert found.dtype == np.float64
    assert found.tolist() == [4, 0, 0]
    assert make("length").corpus(pairs) == {"lexical/length": pytest.approx(4 / 3)}
