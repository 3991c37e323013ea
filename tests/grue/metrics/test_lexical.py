"""What holds for every metric that compares outputs with references."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from grue.metrics import reference_metric as pairwise
from grue.metrics.workers import pool
from tests.conftest import PROJECT
from tests.grue.metrics.parts import CAT, make, needs_wordnet, texts

METRICS: list[tuple[str, dict[str, Any]]] = [
    ("rouge", {}),
    ("rouge", {"use_single_ref": False}),
    ("rouge_l_max", {"length_limit": 5, "length_limit_type": "words", "weight_factor": 1.2}),
    ("meteor", {}),
    ("meteor_common_gen_repeat_penalty", {}),
    ("bleu", {}),
    ("sacre_bleu", {}),
    ("sacre_bleu", {"tokenize": "intl", "smooth_method": "add-k", "use_effective_order": True}),
    ("chrf", {}),
    ("ter", {}),
]
OVER_ALL_REFERENCES = [pair for pair in METRICS if pair != ("rouge", {})]
HARD = [
    ("", "a reference"),
    ("a text against nothing", ""),
    ("", ""),
    ("word", "word"),
    (" \n\t ", "a reference"),
    ("...", "!?"),
    ("Straße naïve 日本語 \U0001f600", "Straße naïve 日本語 \U0001f600"),
    ("日本語", "english"),
    ("\x00\ufffd\u200b", "odd\u2028lines"),
    ("one line\nanother line", "another line\none line\n\n"),
    ("a " * 300, "a b " * 100, "b"),
]


@pytest.fixture(params=METRICS, ids=lambda pair: "-".join([pair[0], *pair[1]]))
def metric(request: pytest.FixtureRequest) -> Any:
    name, args = request.param
    if "meteor" in name:
        needs_wordnet()
    return make(name, **args)


def test_every_output_has_a_finite_score(metric: Any) -> None:
    pairs = texts(*HARD)
    for values in metric.scores(pairs).values():
        assert values.shape == (len(HARD),) and values.dtype == np.float64
        assert np.isfinite(values).all()
    assert all(np.isfinite(value) for value in metric.corpus(pairs).values())


def test_a_batch_is_scored_as_its_outputs_one_by_one(metric: Any) -> None:
    pairs = [*HARD, CAT, HARD[0]]
    together = metric.scores(texts(*pairs))
    for row, pair in enumerate(pairs):
        for key, values in metric.scores(texts(pair)).items():
            assert values[0] == together[key][row], key


def test_one_output_alone_is_the_whole(metric: Any) -> None:
    for pair in [CAT, *HARD]:
        alone = {key: values[0] for key, values in metric.scores(texts(pair)).items()}
        assert metric.corpus(texts(pair)) == pytest.approx(alone, rel=0, abs=1e-14)


def test_references_are_needed(metric: Any) -> None:
    with pytest.raises(UserError, match=f"'{metric.id}' needs references, and the input 'why'"):
        metric.scores(texts(CAT, ("an output",), prompts=["", "why"]))


@pytest.mark.parametrize(("name", "args"), OVER_ALL_REFERENCES)
def test_the_order_of_references_is_of_no_matter(name: str, args: dict[str, Any]) -> None:
    if "meteor" in name:
        needs_wordnet()
    references = ["the cat is on the mat", "a dog", "there sat a cat on a mat with the dog"]
    orders = list(itertools.permutations(references))
    for values in (
        make(name, **args).scores(texts(*((CAT[0], *order) for order in orders))).values()
    ):
        assert (values == values[0]).all()


def test_each_pair_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = make("chrf")
    counted = []
    scorer = metric.make_scorer()
    monkeypatch.setattr(
        metric, "make_scorer", lambda: lambda *pair: counted.append(pair) or scorer(*pair)
    )
    pairs = texts(CAT, ("x", "y"), CAT, (CAT[0], "another"))
    first = metric.scores(pairs)["lexical/chrf"]
    assert len(counted) == 3
    assert (metric.scores(pairs)["lexical/chrf"] == first).all()
    assert len(counted) == 3
    assert first[0] == first[2] != first[3]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Worker processes are started at once, and ended after the test."""
    monkeypatch.setattr(pairwise, "_PATIENCE", 0.0)
    monkeypatch.setattr(pool._WorkerPool, "has_failed", False)
    yield
    pool._pool.close()


MANY = [
    (f"the cat {n} sat on the mat {n % 7}", f"a cat {n % 5} sat", "on mats") for n in range(150)
]


def test_worker_processes_give_the_same_scores(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: make(name, num_workers=0).scores(texts(*MANY)) for name in ("rouge", "bleu")}
    for name, found in expected.items():
        metric = make(name, num_workers=2)
        monkeypatch.setattr(metric, "_score_here", lambda pairs: pytest.fail("scored here"))
        for key, values in metric.scores(texts(*MANY)).items():
            np.testing.assert_array_equal(values, found[key])
    assert len(pool._pool._workers) == 2
    assert not pool._WorkerPool.has_failed


def test_a_worker_that_dies_costs_nothing_but_time(
    impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    metric = make("chrf", num_workers=2)
    expected = metric.scores(texts(*MANY))
    pool._pool._workers[0].process.kill()
    pool._pool._workers[0].process.wait()
    again = metric.scores(texts(*MANY))
    np.testing.assert_array_equal(again["lexical/chrf"], expected["lexical/chrf"])
    assert "scoring in one process, since worker processes failed" in caplog.text
    assert pool._pool._workers == []


def test_few_pairs_start_no_processes(impatient: None) -> None:
    make("chrf", num_workers=2).scores(texts(*MANY[:64]))
    make("chrf", num_workers=1).scores(texts(*MANY))
    assert pool._pool._workers == []


def test_workers_follow_the_threads_of_the_run() -> None:
    torch.set_num_threads(3)
    assert pool.num_threads() == 3
    torch.set_num_threads(1)
    assert pool.score(type(make("chrf")), make("chrf").args, [("a", ("b",))] * 99, None) is None


_PROGRAM = """
import os, pathlib, pickle, signal, sys, time
from grue.metrics.workers import pool
from tests.hanging import HangingMetric
worker = pool._Worker()
for marker in sys.argv[1:]:
    worker.ask(pickle.dumps((HangingMetric, marker)), (0, []))
    while not pathlib.Path(marker).exists():
        time.sleep(0.02)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("markers", [[], ["hangs"]], ids=["idle", "hangs_in_c"])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, markers: list[str]) -> None:
    """The call returns when the worker, too, has closed its standard error."""
    words = [str(tmp_path / marker) for marker in markers]
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, cwd=PROJECT, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
