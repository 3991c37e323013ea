"""SummaC: matrices of a fake classifier against sums by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import UserError
from grue import metrics
from grue.metrics.by_models.summac import SummacConv, SummacZS
from grue.metrics.config import MetricConfig
from grue.scorers import entailment
from grue.scorers.classifier import probabilities
from grue.scorers.entailment import Entailment, label_order
from grue.scorers.summac import Convolution, bin_edges, histograms, zero_shot
from tests.grue.judging import save_classifier, texts

LABELS = {0: "neutral", 1: "ENTAILMENT", 2: "contradiction"}
DOCUMENT = "The first paragraph of it.\n\nThe second paragraph.\n\nshort"
SUMMARY = "A summary paragraph.\n\nAnother one here.\n\ntiny"


class Fake:
    """Logits that follow from the lengths of both texts."""

    class model:  # noqa: N801
        class config:  # noqa: N801
            id2label = LABELS

    def logits_of_pairs(self, first: list[str], second: list[str]) -> np.ndarray:
        return np.array([logits(*pair) for pair in zip(first, second, strict=True)], float).reshape(
            -1, 3
        )


def logits(premise: str, hypothesis: str) -> list[float]:
    return [len(premise) % 7, len(hypothesis) % 5, (len(premise) * len(hypothesis)) % 3]


@pytest.fixture(autouse=True)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tmp_path" not in request.fixturenames or "weights" in request.fixturenames:
        monkeypatch.setattr(entailment, "load_classifier", lambda *a, **k: Fake())


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights for the entailment of one classifier in four bins."""
    torch.manual_seed(0)
    path = tmp_path / "conv.bin"
    names, shapes = Convolution.NAMES, ((1, 4), (1,), (2, 3), (2,))
    torch.save({n: torch.randn(s) for n, s in zip(names, shapes, strict=True)}, path)
    return path


def pair_probabilities() -> np.ndarray:
    """[2, 2, 3] for the two paragraphs of each text that are long enough."""
    found = [[logits(p, h) for h in SUMMARY.split("\n\n")[:2]] for p in DOCUMENT.split("\n\n")[:2]]
    powers = np.exp(np.array(found, dtype=float))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("op1", ["max", "mean", "min"])
@pytest.mark.parametrize("op2", ["max", "mean", "min"])
@pytest.mark.parametrize(("use_ent", "use_con"), [(True, True), (True, False), (False, True)])
def test_zero_shot_score(op1: str, op2: str, use_ent: bool, use_con: bool) -> None:
    metric = SummacZS(SummacZS.Args(model_name="hub/nli", op1=op1, op2=op2, use_ent=use_ent,
                                    use_con=use_con))  # fmt: skip
    found = metric.scores(texts([SUMMARY], prompts=[DOCUMENT]))["consistency/summaczs"]
    shares = getattr(pair_probabilities(), op1)(axis=0)
    values = (shares[:, 1] if use_ent else 1) - (shares[:, 2] if use_con else 0)
    assert found == pytest.approx([getattr(values, op2)()], abs=1e-12)


def test_texts_without_pieces_score_zero_and_change_no_others() -> None:
    metric = SummacZS(SummacZS.Args(model_name="hub/nli", use_ent=False))
    given = texts(["", SUMMARY, "short"], prompts=[DOCUMENT, DOCUMENT, DOCUMENT])
    found = metric.scores(given)["consistency/summaczs"]
    assert found[0] == found[2] == 0
    assert found[1] == metric.scores(given[1:2])["consistency/summaczs"][0] != 0


def test_granularities_of_document_and_summary() -> None:
    made = Entailment("hub/nli", "model_name", SummacZS.Args(), "document-paragraph")
    assert made.matrices([DOCUMENT], [SUMMARY])[0].shape == (3, 1, 2)
    assert entailment.SPLITS["paragraph"]("one line here it is\nshort\nanother line") == [
        "one line here it is", "another line"
    ]  # fmt: skip


def test_sentences_need_nltks_data(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.tokenize

    def without(_: str) -> list[str]:
        raise LookupError("punkt_tab")

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk.tokenize, "sent_tokenize", without)
    for granularity in ("sentence", "document-2sents", "mixed"):
        (problem,) = SummacZS.Args(granularity=granularity).missing()
        assert problem.key == "granularity"
        assert "python -m nltk.downloader punkt_tab" in problem.message
    assert not list(SummacZS.Args().missing())
    with pytest.raises(UserError, match=r"python -m nltk\.downloader punkt_tab"):
        entailment.SPLITS["sentence"]("A text.")
    sentences = ["The first sentence.", "Too short.", "The third sentence."]
    monkeypatch.setattr(nltk.tokenize, "sent_tokenize", lambda _: sentences)
    assert entailment.SPLITS["sentence"]("") == [sentences[0], sentences[2]]
    assert entailment.SPLITS["2sents"]("") == [f"{sentences[0]} {sentences[2]}", sentences[2]]


def test_labels_are_found_by_name_or_known() -> None:
    assert label_order("hub/nli", LABELS) == [1, 2, 0]
    assert label_order("vitc", {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}) == [0, 1, 2]
    assert label_order("mnli", {}) == [2, 0, 1]
    with pytest.raises(UserError, match="its labels are LABEL_0, LABEL_1"):
        label_order("hub/other", {0: "LABEL_0", 1: "LABEL_1"})


def test_histograms_count_document_pieces_per_summary_piece() -> None:
    matrix = np.array([[[0.1, 1.0], [0.3, 0.6]], [[0.0, 0.9], [0.8, 0.9]], [[0.5, 0.5]] * 2])
    found = histograms(matrix, bin_edges("even4"), "ec")
    np.testing.assert_array_equal(found, [[1, 1, 0, 0, 1, 0, 0, 1], [0, 0, 1, 1, 0, 0, 0, 2]])
    assert histograms(np.zeros((3, 2, 14)), bin_edges("even4"), "e").shape == (10, 4)
    assert len(bin_edges("percentile")) == 24 and bin_edges("even50")[-1] == 1


@pytest.mark.parametrize("agg", ["mean", "min", "max", "all"])
def test_convolution_is_a_filter_an_aggregate_and_a_layer(weights: Path, agg: str) -> None:
    args = SummacConv.Args(start_file=str(weights), models=["hub/nli"], bins="even4",
                           granularity="paragraph", agg=agg)  # fmt: skip
    found = SummacConv(args).scores(texts([SUMMARY, ""], prompts=[DOCUMENT] * 2))
    given = [value.double().numpy() for value in torch.load(weights).values()]
    filtered = []
    for piece in range(2):
        counts = np.histogram(pair_probabilities()[:, piece, 1], np.arange(5) / 4)[0]
        filtered.append((counts * given[0]).sum() + given[1][0])
    values = {"mean": np.mean(filtered), "min": min(filtered), "max": max(filtered)}
    features = [values[n] for n in (("min", "mean", "max") if agg == "all" else (agg,) * 3)]
    expected = probabilities((given[2] @ features + given[3])[None])[0, 1]
    scores = found["consistency/summacconv"]
    assert scores[0] == pytest.approx(expected, abs=1e-9)
    empty = given[2] @ ([given[0][0, 0] + given[1][0]] * 3) + given[3]
    assert scores[1] == pytest.approx(probabilities(empty[None])[0, 1], abs=1e-9)


def test_convolution_without_fitting_weights_is_refused(weights: Path) -> None:
    config = MetricConfig(id="summaCConv", args={"granularity": "sentence"})
    assert ["'args.start_file'" in str(problem) for problem in config.problems()] == [True]
    args = {"start_file": str(weights), "models": ["hub/nli"], "granularity": "paragraph"}
    with pytest.raises(UserError, match="its filter has 4 weights and the histograms 50"):
        SummacConv(SummacConv.Args(**args)).prepare()
    weights.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"'start_file' = .*: cannot be read"):
        SummacConv(SummacConv.Args(**args)).prepare()


def test_wrong_values_are_explained() -> None:
    for part, args, message in (
        ("summaCZS", {"granularity": "words"}, "expected one of document"),
        ("summaCConv", {"start_file": "x", "bins": "odd3"}, "expected 'percentile', or 'even'"),
        ("summaCZS", {"use_ent": False, "use_con": False}, "must be true where 'use_con' is false"),
    ):
        (problem,) = MetricConfig(id=part, args=args).problems()
        assert message in str(problem)


def test_zero_shot_of_a_matrix() -> None:
    matrix = np.array([[[0.2, 0.9], [0.6, 0.1]], [[0.5, 0.0], [0.3, 0.4]], np.zeros((2, 2))])
    found = zero_shot(matrix, op1="max", op2="mean", use_ent=True, use_con=True)
    assert found == pytest.approx(((0.6 - 0.5) + (0.9 - 0.4)) / 2)


def test_a_classifier_from_a_folder_is_read_in_pairs(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path, "roberta", num_labels=3, id2label=LABELS,
                             label2id={name: i for i, name in LABELS.items()})  # fmt: skip
    metric = metrics.find("summaCZS")(SummacZS.Args(model_name=str(folder)))
    metric.prepare()
    document = "a dog runs in the park\n\nthe cat sat on the mat " * 9
    given = texts(["the cat sat on\n\na dog runs in", "good bad fine 1 2"], prompts=[document] * 2)
    found = metric.scores(given)["consistency/summaczs"]
    apart = [metric.scores(given[i : i + 1])["consistency/summaczs"][0] for i in range(2)]
    np.testing.assert_allclose(found, apart, rtol=0, atol=1e-6)
    assert (np.abs(found) <= 1).all() and found[0] != found[1]
