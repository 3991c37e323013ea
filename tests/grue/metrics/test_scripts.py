"""Texts in other scripts than Latin: tokens for them, and a warning where a metric sees none."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grue import rewards
from grue.metrics import reference_metric as pairwise
from grue.metrics.tokens.scripts import characters, unicode_words
from grue.metrics.workers import pool
from tests.grue.metrics.parts import corpus, make, needs_wordnet, scores, texts

WITH_BLANKS = {
    "Hindi": "बिल्ली चटाई पर बैठी है",
    "Arabic": "القطة تجلس على السجادة",
    "Russian": "Кошка сидит на коврике",
    "Greek": "Η γάτα κάθεται στο χαλί",
}
WITHOUT_BLANKS = {
    "Chinese": "今天天气非常好",
    "Japanese": "今日はとても良い天気です",
    "Thai": "วันนี้อากาศดีมาก",
}
ALL = WITH_BLANKS | WITHOUT_BLANKS
ROUGES = ["rouge", "rouge_l_max"]


def copies(name: str, text: str, **args: Any) -> list[float]:
    """The scores of a text against itself."""
    found = make(name, **args).scores(texts((text, text))).values()
    return [float(values[0]) for values in found]


def test_words_keep_their_marks_and_have_small_letters() -> None:
    assert unicode_words("Straße, NAÏVE: 2024!") == ["straße", "naïve", "2024"]
    assert unicode_words("हिन्दी में।") == ["हिन्दी", "में"]
    assert unicode_words(" …\n") == []
    assert characters("今 天\n好。") == ["今", "天", "好", "。"]


@pytest.mark.parametrize("name", ["rouge", "rouge_l_max"])
@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_a_copy_in_any_script_has_rouge_one(name: str, text: str) -> None:
    assert set(copies(name, text)) == {0}
    assert set(copies(name, text, tokenizer="characters")) == {1}
    if text in WITH_BLANKS.values():
        assert set(copies(name, text, tokenizer="words")) == {1}


def test_rouge_counts_the_words_and_characters_of_other_scripts() -> None:
    """Three of four words are shared, and one of three pairs; five of six characters."""
    words = make("rouge", tokenizer="words").scores(
        texts(("Кошка сидит, на стуле", "на кошка сидит здесь"))
    )
    assert words["lexical/rouge_rouge1"][0] == pytest.approx(3 / 4)
    assert words["lexical/rouge_rouge2"][0] == pytest.approx(1 / 3)
    assert words["lexical/rouge_rougeL"][0] == pytest.approx(2 / 4)
    found = make("rouge", tokenizer="characters").scores(texts(("今天天气很好", "今天天气不好")))
    assert found["lexical/rouge_rouge1"][0] == pytest.approx(5 / 6)
    assert found["lexical/rouge_rouge2"][0] == pytest.approx(3 / 5)
    pair = "今天天气很好", "今天天气不好"
    assert scores("rouge_l_max", pair, tokenizer="characters")[0] == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("rouge", {"rouge_type": "rougeL", "tokenizer": "words"}),
        ("rouge_combined", {"tokenizer": "words"}),
        ("rouge_l_max", {"tokenizer": "words"}),
        ("bleu", {"tokenize": "char"}),
        ("sacre_bleu", {"tokenize": "char"}),
    ],
)
def test_rewards_take_the_tokenizer_too(name: str, args: dict[str, Any]) -> None:
    reward = rewards.find(name)
    text = WITH_BLANKS["Hindi"]
    found = reward(reward.Args.model_validate(args))(texts((text, text)))
    assert found[0] == pytest.approx(1)


@pytest.mark.parametrize("name", ["bleu", "sacre_bleu"])
@pytest.mark.parametrize("text", WITHOUT_BLANKS.values(), ids=WITHOUT_BLANKS)
def test_bleu_by_characters(name: str, text: str) -> None:
    assert copies(name, text) == [0]
    assert copies(name, text, tokenize="char") == pytest.approx([1])
    assert corpus(name, (text, text), tokenize="char") == pytest.approx(1)


ENGLISH = "the cat is on the mat"
TELLING = [
    ("rouge", {}, "Hindi", "set 'tokenizer' to 'words', or to 'characters'"),
    ("rouge", {"tokenizer": "words"}, "Thai", "'characters' for scripts without spaces"),
    ("rouge_l_max", {}, "Greek", "set 'tokenizer' to 'words', or to 'characters'"),
    ("bleu", {}, "Japanese", "set 'tokenize' to 'char'"),
    ("sacre_bleu", {}, "Chinese", "set 'tokenize' to 'char', or to 'zh' for Chinese"),
    ("sacre_bleu", {"tokenize": "zh"}, "Thai", "set 'tokenize' to 'char'"),
    ("meteor", {}, "Thai", "take 'chrf', or 'rouge' with 'tokenizer' = 'characters'"),
    ("ter", {}, "Chinese", "take 'chrf', or 'rouge' with 'tokenizer' = 'characters'"),
    ("cider", {}, "Chinese", "take 'chrf', or 'rouge' with 'tokenizer' = 'characters'"),
]


@pytest.mark.parametrize(("name", "args", "script", "fix"), TELLING)
def test_references_without_tokens_are_told_once(
    name: str, args: dict[str, Any], script: str, fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "meteor":
        needs_wordnet()
    metric = make(name, **args)
    pair = "an output", ALL[script]
    mixed = "an output", ALL[script], ENGLISH
    samples = texts(pair, pair, ("an output", ENGLISH), mixed)
    metric.corpus(samples)
    metric.scores(texts(pair))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    told = (
        f"'{name}' finds too few tokens in the references of 1 of 3 inputs, such as '{ALL[script]}'"
    )
    assert told in record.message and fix in record.message


QUIET = [
    *((name, args, script) for name in ("rouge", "rouge_l_max") for script in ALL
      for args in [{"tokenizer": "characters"}]),
    *(("rouge", {"tokenizer": "words"}, script) for script in WITH_BLANKS),
    *((name, {}, script) for name in ("bleu", "sacre_bleu", "ter", "cider")
      for script in WITH_BLANKS),
    *((name, {"tokenize": "char"}, script) for name in ("bleu", "sacre_bleu") for script in ALL),
    *(("chrf", {}, script) for script in ALL),
    ("sacre_bleu", {"tokenize": "zh"}, "Chinese"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "script"), QUIET)
def test_references_that_a_metric_reads_are_not_told_of(
    name: str, args: dict[str, Any], script: str, caplog: pytest.LogCaptureFixture
) -> None:
    metric = make(name, **args)
    metric.corpus(texts(("an output", ALL[script]), (ALL[script], ALL[script])))
    assert not caplog.records


@pytest.mark.parametrize("text", ["", " \n", "!?", "好"])
def test_texts_that_no_tokenizer_mends_are_not_told_of(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("bleu", "sacre_bleu"):
        make(name).scores(texts(("an output", text)))
    make("rouge", tokenizer="words").scores(texts(("an output", text)))
    assert not caplog.records


def test_worker_processes_leave_the_warning_to_their_parent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pairwise, "_PATIENCE", 0.0)
    monkeypatch.setattr(pool._WorkerPool, "has_failed", False)
    try:
        pairs = [(f"an output {number}", ALL["Hindi"]) for number in range(150)]
        make("rouge", num_workers=2).scores(texts(*pairs))
        assert len(pool._pool._workers) == 2
    finally:
        pool._pool.close()
    assert len(caplog.records) == 1
