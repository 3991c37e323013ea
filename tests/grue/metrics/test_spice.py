"""SPICE: how its program is called, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from grue import metrics
from grue.metrics.config import MetricConfig
from tests.grue.fake_spice import install
from tests.grue.made_texts import made_texts


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(tmp_path, monkeypatch)


def spice(jar: Path):
    metric = metrics.find("spice")
    return metric(metric.Args(jar=str(jar)))


def test_scores_go_to_their_outputs(jar: Path) -> None:
    """In the file's order, not the program's; inputs of one prompt keep their own references."""
    texts = made_texts(["a b", "a b", "a b c d"], [["a b"], ["a", "x"], ["d"]])
    metric = spice(jar)
    metric.prepare()
    assert metric.scores(texts)["lexical/spice"].tolist() == [1, 0.5, 0.25]
    assert metric.corpus(texts) == {"lexical/spice": pytest.approx(1.75 / 3)}


def test_without_words_or_propositions_the_score_is_zero(jar: Path) -> None:
    texts = made_texts(["", " \n", "nothing", "a"], [["a"]] * 4)
    assert spice(jar).scores(texts)["lexical/spice"].tolist() == [0, 0, 0, 1]
    assert spice(jar).scores(made_texts([""], [["a"]]))["lexical/spice"].tolist() == [0]


def test_a_failing_program_is_told_with_its_words(jar: Path) -> None:
    with pytest.raises(UserError, match=r"SPICE failed with exit status 1: .*no memory"):
        spice(jar).scores(made_texts(["crash"], [["a"]]))
    with pytest.raises(UserError, match="SPICE left out 1 of 2 inputs"):
        spice(jar).scores(made_texts(["a", "lost"], [["a"]] * 2))


def test_an_input_without_references_is_named(jar: Path) -> None:
    with pytest.raises(UserError, match="'spice' needs references, and the input 'the prompt'"):
        spice(jar).scores(made_texts(["a"]))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("bin/java", "SPICE needs Java: no 'java' on the PATH"),
        (
            "SPICE-1.0.jar",
            "'jar' = '.*': no such file; give .*SPICE-1.0.jar.*take",
        ),
        ("lib/stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0.jar is missing"),
        ("lib/stanford-corenlp-3.6.0-models.jar", "stanford-corenlp-3.6.0-models.jar is missing"),
    ],
)
def test_what_is_missing_is_named(jar: Path, missing: str, message: str) -> None:
    (jar.parent / missing).unlink()
    with pytest.raises(UserError, match=message):
        spice(jar).prepare()


def test_the_environment_names_the_program(jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's identity is the same as with the key: both are the file's content."""
    monkeypatch.setenv("SPICE_JAR", str(jar))
    for args in ({}, {"jar": ""}):
        config = MetricConfig(id="spice", args=args)
        assert not list(config.problems())
        given = MetricConfig(id="spice", args={"jar": str(jar)})
        assert config.input_files() == given.input_files() == {"args.jar": jar}
        config.build().prepare()


def test_without_a_program_it_is_said_which_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SPICE_JAR", raising=False)
    (problem,) = MetricConfig(id="spice").problems()
    for part in ("'args.jar'", "SPICE_JAR", "SPICE-1.0.jar", "https://", "take the metric out"):
        assert part in str(problem)
