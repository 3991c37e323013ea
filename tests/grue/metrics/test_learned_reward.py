"""The learned reward: the label's probability, whatever the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from common.errors import UserError
from grue import metrics, rewards
from grue.rewards.config import RewardConfig
from tests.grue.judging import save_classifier, texts

KEY = "semantic/learned_automodel_metric"
OUTPUTS = ["the cat", "", "a dog runs in the park and the cat sat on the mat", "good", "bad fine"]


def learned(folder: Path, **args: object) -> metrics.Metric:
    kind = metrics.find("learned_reward")
    return kind(kind.Args(**{"model_name": str(folder), "label_ix": 1, **args}))


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_a_batch_has_the_probabilities_of_its_outputs_one_by_one(tmp_path: Path, kind: str) -> None:
    save_classifier(tmp_path, kind, num_labels=3)
    metric = learned(tmp_path)
    together = metric.scores(texts(OUTPUTS))[KEY]
    apart = [metric.scores(texts(OUTPUTS)[i : i + 1])[KEY][0] for i in range(len(OUTPUTS))]
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-6)
    assert together.dtype == np.float64 and np.ptp(together) > 0.01
    assert metric.corpus(texts(OUTPUTS))[KEY] == pytest.approx(np.mean(together), abs=1e-12)


@pytest.mark.parametrize("with_prompt", [True, False])
def test_the_score_is_the_softmax_probability_of_the_label(
    tmp_path: Path, with_prompt: bool
) -> None:
    save_classifier(tmp_path, num_labels=3)
    found = [
        learned(tmp_path, label_ix=label, include_prompt_for_eval=with_prompt).scores(
            texts(["sat on"], prompts=["the cat "])
        )[KEY][0]
        for label in range(3)
    ]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    read = AutoTokenizer.from_pretrained(tmp_path)(
        "the cat sat on" if with_prompt else "sat on", return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(**read).logits.softmax(-1)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_single_logit_gives_its_sigmoid_and_has_no_second_label(tmp_path: Path) -> None:
    save_classifier(tmp_path, num_labels=1)
    found = learned(tmp_path, label_ix=0, include_prompt_for_eval=False).scores(texts(["the cat"]))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        read = AutoTokenizer.from_pretrained(tmp_path)("the cat", return_tensors="pt")
        expected = model(**read).logits.sigmoid().item()
    assert found[KEY][0] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UserError, match=r"'label_ix' = 1: .* has the labels 0 to 0"):
        learned(tmp_path).prepare()


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_a_long_text_loses_its_beginning(tmp_path: Path, kind: str) -> None:
    metric = learned(save_classifier(tmp_path, kind), include_prompt_for_eval=False)
    end = "the cat sat on the mat " * 20
    values = metric.scores(texts(["bad bad bad " + end, "good " + end, end + "good"]))[KEY]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert abs(values[2] - values[0]) > 1e-4


def test_no_outputs_give_no_scores(tmp_path: Path) -> None:
    assert learned(save_classifier(tmp_path)).scores(texts([]))[KEY].shape == (0,)


def test_the_model_is_loaded_once_and_not_before_its_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grue.scorers import classifier

    loads = []
    load = classifier.load_classifier
    monkeypatch.setattr(
        classifier, "load_classifier", lambda *a, **k: loads.append(a) or load(*a, **k)
    )
    metric = learned(save_classifier(tmp_path))
    metric.prepare()
    assert not loads
    metric.scores(texts(["a"]))
    metric.scores(texts(["b"]))
    assert len(loads) == 1


def test_scoring_leaves_the_generators_alone(tmp_path: Path) -> None:
    metric = learned(save_classifier(tmp_path))
    state = torch.get_rng_state()
    metric.scores(texts(OUTPUTS))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'model_name' = '/no/such': no such folder"):
        learned(Path("/no/such")).prepare()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"its config\.json cannot be read"):
        learned(tmp_path / "empty").prepare()
    save_classifier(tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        learned(tmp_path / "c").prepare()
    save_classifier(tmp_path / "d", num_labels=2)
    with pytest.raises(UserError, match=r"'label_ix' = 2: .* has the labels 0 to 1"):
        learned(tmp_path / "d", label_ix=2).scores(texts(["a"]))


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    from transformers import BertModel

    save_classifier(tmp_path)
    BertModel.from_pretrained(tmp_path).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"do not fit a BertForSequenceClassification: lacks .classifier.bias"
    ):
        learned(tmp_path).scores(texts(["a"]))


def test_the_reward_is_the_metrics_score(tmp_path: Path) -> None:
    save_classifier(tmp_path)
    reward = rewards.find("learned_reward")
    found = reward(reward.Args(model_name=str(tmp_path), label_ix=1))(texts(OUTPUTS))
    np.testing.assert_array_equal(found, learned(tmp_path).scores(texts(OUTPUTS))[KEY])


def test_the_folder_is_an_input_and_placement_does_not_count(tmp_path: Path) -> None:
    args = {"model_name": str(save_classifier(tmp_path)), "label_ix": 1}
    config = RewardConfig(id="learned_reward", args=args)
    assert list(config.inputs()) == [(("args", "model_name"), str(tmp_path))]
    placed = RewardConfig(id="learned_reward", args={**args, "device": "cpu", "batch_size": 7})
    assert placed.identity() == config.identity()
    other = RewardConfig(id="learned_reward", args={**args, "label_ix": 0})
    assert json.dumps(other.identity()) != json.dumps(config.identity())
    named = RewardConfig(id="learned_reward", args={**args, "model_name": "@classifier.model"})
    assert list(named.inputs()) == [(("args", "model_name"), "@classifier.model")]
