"""BERTScore: its package, with a tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from grue import metrics, rewards
from tests.grue.judging import save_classifier, texts

KEY = "semantic/bert_score"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("bert"))


def bert_score(folder: Path, **args: object) -> metrics.Metric:
    kind = metrics.find("bert_score")
    return kind(kind.Args(**{"model_type": str(folder), "num_layers": 2, **args}))


def test_identical_texts_score_one_and_the_best_reference_counts(folder: Path) -> None:
    metric = bert_score(folder)
    same, other = "the cat sat on the mat", "a dog runs"
    found = metric.scores(texts([same, same, other, same], [[same], [other, same], [other, same],
                                                            [other]]))[KEY]  # fmt: skip
    np.testing.assert_allclose(found[:3], 1, rtol=0, atol=1e-6)
    assert found[3] < 0.99 and found.dtype == np.float64


def test_f1_is_that_of_greedy_matches_in_the_chosen_layer(folder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (kind.from_pretrained(folder) for kind in (AutoTokenizer, AutoModel))
    vectors = []
    for text in ("a dog runs", "the cat sat on the mat"):
        with torch.no_grad():
            read = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        found = read.hidden_states[1][0]
        vectors.append(found / found.norm(dim=-1, keepdim=True))
    similar = vectors[0] @ vectors[1].T
    precision, recall = (similar.max(axis)[0][1:-1].mean() for axis in (1, 0))  # no [CLS], [SEP]
    expected = 2 * precision * recall / (precision + recall)
    given = texts(["a dog runs"], [["the cat sat on the mat"]])
    found = bert_score(folder, num_layers=1).scores(given)[KEY]
    assert found[0] == pytest.approx(float(expected), abs=1e-6)


def test_empty_outputs_and_references_score_zero(folder: Path) -> None:
    given = texts(["", " \n", "a dog", "a dog"], [["a dog"], ["a dog"], [""], ["", "a dog"]])
    np.testing.assert_allclose(bert_score(folder).scores(given)[KEY], [0, 0, 0, 1], atol=1e-6)
    assert bert_score(folder).scores(texts([], []))[KEY].shape == (0,)


def test_scores_do_not_depend_on_the_batch_and_long_texts_are_cut(folder: Path) -> None:
    outputs = ["the cat", "a dog runs in the park", "the cat sat " * 40, "good"]
    given = texts(outputs, [["the cat sat on the mat", "a dog"]] * 4)
    metric = bert_score(folder)
    apart = [metric.scores(given[i : i + 1])[KEY][0] for i in range(4)]
    np.testing.assert_allclose(metric.scores(given)[KEY], apart, rtol=0, atol=1e-6)


def test_what_it_needs_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'model_type' = .*; set 'num_layers'"):
        bert_score(folder, num_layers=None).prepare()
    with pytest.raises(UserError, match="'bert_score' needs references"):
        bert_score(folder).scores(texts(["a"]))
    metrics.find("bert_score")(metrics.find("bert_score").Args(language="en")).prepare()


def test_the_reward_is_the_metrics_score(folder: Path) -> None:
    reward = rewards.find("bert_score")
    given = texts(["the cat"], [["a dog", "cat"]])
    found = reward(reward.Args(model_type=str(folder), num_layers=2))(given)
    np.testing.assert_array_equal(found, bert_score(folder).scores(given)[KEY])
