"""Seconds to score 5,000 outputs, against the scoring library called in a loop.

Outputs and references are 20 random words of a vocabulary of 2,000, drawn unevenly as in natural
text, half of the output's words taken from its reference. Every output has a reference of its own
(nothing is scored twice), or ten outputs share one, as when samples of a policy are scored. Workers
are started before the clock, and have seen none of the texts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from grue import metrics, rewards
from grue.metrics import reference_metric as pairwise
from grue.metrics.workers import pool
from grue.texts import Texts

_OUTPUTS, _WORDS, _VOCABULARY = 5000, 20, 2000
_ROUNDS = 3
_ENDINGS = ["", "s", "ing", "ed", "er", "ly"]
_OTHERS = Texts([""] * 999, [str(n) for n in range(999)], [("0",)] * 999, [{}] * 999)


def _texts(outputs_per_reference: int) -> Texts:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnoprstuvwy"))
    stems = ["".join(rng.choice(letters, rng.integers(2, 8))) for _ in range(_VOCABULARY)]
    words = [stem + str(rng.choice(_ENDINGS)) for stem in stems]
    weights = 1 / np.arange(1, _VOCABULARY + 1)
    weights /= weights.sum()
    references = rng.choice(_VOCABULARY, (_OUTPUTS // outputs_per_reference, _WORDS), p=weights)
    references = references.repeat(outputs_per_reference, 0)
    drawn = rng.choice(_VOCABULARY, (_OUTPUTS, _WORDS), p=weights)
    outputs = np.where(rng.random(drawn.shape) < 0.5, references, drawn)

    def texts(rows: np.ndarray) -> list[str]:
        return [" ".join(words[at] for at in row) + "." for row in rows]

    return Texts(
        [""] * _OUTPUTS, texts(outputs), [(text,) for text in texts(references)], [{}] * _OUTPUTS
    )


def _rouge_l(texts: Texts) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for output, (reference,) in zip(texts.outputs, texts.references, strict=True):
        scorer.score(reference, output)


def _sacre_bleu(texts: Texts) -> None:
    from sacrebleu.metrics import BLEU

    scorer = BLEU()
    for output, (reference,) in zip(texts.outputs, texts.references, strict=True):
        scorer.corpus_score([output], [[reference]])


def _rouge_l_here(num_workers: int) -> Callable[[Texts], object]:
    reward = rewards.find("rouge")
    return reward(reward.Args(rouge_type="rougeL", num_workers=num_workers))


def _sacre_bleu_here(num_workers: int) -> Callable[[Texts], object]:
    metric = metrics.find("sacre_bleu")
    scores: Any = metric(metric.Args(num_workers=num_workers)).scores
    return scores


def _seconds(score: Callable[[Texts], object], texts: Texts) -> float:
    started = time.perf_counter()
    score(texts)
    return time.perf_counter() - started


@contextmanager
def _workers_at_once() -> Iterator[None]:
    patience, pairwise._PATIENCE = pairwise._PATIENCE, 0.0
    try:
        yield
    finally:
        pairwise._PATIENCE = patience


def main() -> None:
    """Prints seconds and the ratios to the library, the ways taking turns."""
    num_workers = min(8, len(os.sched_getaffinity(0)))
    print(f"Scoring {_OUTPUTS} outputs of {_WORDS} words, {num_workers} workers")
    cases = [("ROUGE-L", _rouge_l, _rouge_l_here), ("sacreBLEU", _sacre_bleu, _sacre_bleu_here)]
    for shared in (1, 10):
        texts = _texts(shared)
        for name, library, make in cases:
            rounds = [_round(library, make, texts, num_workers) for _ in range(_ROUNDS)]
            alone, here, helped = (
                statistics.median(column) for column in zip(*rounds, strict=True)
            )
            print(f"  {name:10s} {shared:2d} outputs per reference: library {alone:.2f} s, "
                  f"this project / library {here / alone:.2f}, with workers "
                  f"{helped / alone:.2f}")  # fmt: skip


def _round(
    library: Callable[[Texts], None],
    make: Callable[[int], Callable[[Texts], object]],
    texts: Texts,
    num_workers: int,
) -> tuple[float, float, float]:
    """Seconds of the library, of a fresh scorer in this process, and of fresh workers."""
    alone, here = _seconds(library, texts), _seconds(make(0), texts)
    with _workers_at_once():
        make(num_workers)(_OTHERS)
        helped = _seconds(make(num_workers), texts)
    pool._pool.close()
    return alone, here, helped


if __name__ == "__main__":
    main()
