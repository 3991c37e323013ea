from __future__ import annotations

import nltk
import pytest

from common.errors import UserError
from grue.metrics.common_gen import repeats_prompt
from grue.metrics.config import MetricConfig
from grue.metrics.tokens.words import words
from tests.grue.metrics.parts import BOY, CAT, DOG, corpus, make, needs_wordnet, scores, texts


@pytest.fixture
def wordnet() -> None:
    needs_wordnet()


GOLDEN = [(CAT, 0.806667, 0.431034), (DOG, 0.998542, 0.659415), (BOY, 0.340741, 0.230230)]


@pytest.mark.parametrize(("pair", "value", "as_published"), GOLDEN)
def test_golden_values(
    wordnet: None, pair: tuple[str, str], value: float, as_published: float
) -> None:
    assert scores("meteor", pair)[0] == pytest.approx(value, abs=5e-7)
    found = scores("meteor", pair, stringify_references=True)[0]
    assert found == pytest.approx(as_published, abs=5e-7)


def test_the_best_reference_counts(wordnet: None) -> None:
    assert scores("meteor", (CAT[0], "a dog", CAT[1]))[0] == scores("meteor", CAT)[0]
    both = scores("meteor", (CAT[0], "a dog", CAT[1]), stringify_references=True)[0]
    assert both < scores("meteor", CAT, stringify_references=True)[0]


def test_synonyms_and_stems_match(wordnet: None) -> None:
    perfect = scores("meteor", ("the big car stop", "the big car stop"))[0]
    assert scores("meteor", ("the big auto halt", "the big car stop"))[0] == perfect
    assert scores("meteor", ("the big cars stopping", "the big car stop"))[0] == perfect
    assert scores("meteor", ("the small bus goes", "the big car stop"))[0] < perfect


def test_perfect_copy_loses_only_what_one_chunk_costs(wordnet: None) -> None:
    for length in (1, 2, 7):
        text = " ".join("abcdefg"[:length])
        assert scores("meteor", (text, text))[0] == pytest.approx(1 - 0.5 / length**3)


def test_all_outputs_together_have_the_mean(wordnet: None) -> None:
    assert corpus("meteor", CAT, DOG) == pytest.approx(scores("meteor", CAT, DOG).mean())


def test_missing_wordnet_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [])
    for name in ("meteor", "meteor_common_gen_repeat_penalty"):
        (problem,) = MetricConfig(id=name).missing()
        assert problem.key == "id"
        assert "METEOR needs NLTK's data 'wordnet'" in str(problem)
        assert "'python -m nltk.downloader wordnet'" in str(problem)
        with pytest.raises(UserError, match="METEOR needs NLTK's data"):
            make(name).scores(texts(CAT))


def test_words_need_no_data() -> None:
    assert words("A dog. It runs, doesn't it?") == [
        "A", "dog", ".", "It", "runs", ",", "does", "n't", "it", "?",
    ]  # fmt: skip
    assert words("") == words(" \n") == []
    assert words("['the end']") == ["[", "'", "the", "end", "'", "]"]
    assert words("['the end']", old_quotes=True) == ["[", "'the", "end", "'", "]"]


PROMPT = "generate a sentence with: dog park run."


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("A dog runs in the park.", False),
        ("I saw the DOG park run yesterday", True),
        ("Generated text", True),
        ("one Sentence", True),
        ("generate a sentence with: x", True),
        ("", False),
    ],
)
def test_what_repeats_the_prompt(output: str, expected: bool) -> None:
    assert repeats_prompt(PROMPT, output) == expected


def test_prompts_of_another_form() -> None:
    assert repeats_prompt("make: dog park.", "MAKE: DOG PARK!")
    assert not repeats_prompt("generate a sentence with: ", "anything")
    assert not repeats_prompt("", "anything")


def test_meteor_less_the_share_of_repeats(wordnet: None) -> None:
    pairs = [CAT, ("dog park run", "a dog")]
    metric = make("meteor_common_gen_repeat_penalty")
    found = metric.corpus(texts(*pairs, prompts=[PROMPT] * 2))
    expected = corpus("meteor", *pairs) - 1 / 2
    assert found == {"lexical/meteor_common_gen_repeat_penalty": pytest.approx(expected)}
