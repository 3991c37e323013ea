"""BLEURT: a regression of reference and output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from common.errors import UserError
from grue import metrics, rewards
from tests.grue.judging import save_classifier, texts

KEY = "semantic/bleurt"


def bleurt(name: Path | str) -> metrics.Metric:
    kind = metrics.find("bleurt")
    return kind(kind.Args(config_name=str(name)))


def test_the_rating_is_the_models_output_for_reference_and_output(tmp_path: Path) -> None:
    save_classifier(tmp_path, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()

    def rating(reference: str, output: str) -> float:
        with torch.no_grad():
            return model(**tokenizer([reference], [output], return_tensors="pt")).logits.item()

    given = texts(["the cat", "", "a dog runs"], [["the cat sat"], ["good"], ["a", "the park"]])
    expected = [
        rating("the cat sat", "the cat"),
        rating("good", ""),
        max(rating("a", "a dog runs"), rating("the park", "a dog runs")),
    ]
    found = bleurt(tmp_path).scores(given)[KEY]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    reward = rewards.find("bleurt")
    args = reward.Args(config_name=str(tmp_path), checkpoint="ignored")
    np.testing.assert_array_equal(reward(args)(given), found)


def test_what_is_no_bleurt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no BLEURT: it has 2 outputs, not one"):
        bleurt(save_classifier(tmp_path)).prepare()
    with pytest.raises(UserError, match="lacks the architecture of BLEURT-20; take one of bleurt-"):
        bleurt("BLEURT-20-D12").prepare()
    with pytest.raises(UserError, match="'bleurt' needs references"):
        bleurt("bleurt-base-128").scores(texts(["a"]))


def test_published_names_are_found_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", refuse)
    metric = bleurt("bleurt-tiny-512")
    metric.prepare()
    with pytest.raises(UserError, match=r"'config_name' = .* cannot be loaded \(no network\)"):
        metric.scores(texts(["a"], [["b"]]))
    assert asked == ["Elron/bleurt-tiny-512"]
