"""CommonGen's preference model, with a tiny random T5 in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from common.errors import UserError
from grue import rewards
from grue.metrics.metric import NoArgs
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.scorers.preference import PUBLISHED, Preference, PublishedModel
from grue.texts import Texts
from tests.grue.conftest import encoder_decoder
from tests.grue.made_texts import made_texts

OUTPUTS = ["the cat sat on the mat", "", "a dog runs in the park", "Cat", "the cat sat on the mat"]


class Meteor(Reward[NoArgs]):
    """Stands for METEOR: an eighth of an output's characters."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.array([len(output) / 8 for output in texts.outputs])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    path = tmp_path_factory.mktemp("t5")
    model = encoder_decoder("t5", len(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.div_(30)  # so that no probability is 0 or 1
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def preference(folder: Path, **args: Any) -> Reward[Any]:
    reward = rewards.find("common_gen_preference_model")
    return reward(reward.Args(model_name=str(folder), **args))


def test_value_is_the_softmax_over_both_answers(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    answers = [tokenizer(word)["input_ids"][0] for word in ("good", "bad")]
    expected = []
    for output in OUTPUTS:
        ids = tokenizer(output)["input_ids"] or [tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0]])
            ).logits[0, 0]
        expected.append(float(logits[answers].double().softmax(-1)[0]))
    reward = preference(folder)
    reward.prepare()
    found = reward(made_texts(OUTPUTS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[0] == found[4]
    assert len(set(found.round(3))) == 4


def test_batches_do_not_change_the_value(folder: Path) -> None:
    alone, together = preference(folder), preference(folder, batch_size=4)
    texts = made_texts(OUTPUTS)
    np.testing.assert_allclose(alone(texts), together(texts), rtol=1e-5)


def test_missing_concepts_divide_the_value(folder: Path) -> None:
    concepts = [["Cat", "mat"], ["cat", "dog"], ["dog", "cat"], ["cat"], ["x", "y", "z"]]
    texts = made_texts(OUTPUTS, metadata=[{"concepts": each} for each in concepts])
    plain = preference(folder)(texts)
    found = preference(folder, concept_penalty_coeff=0.5)(texts)
    np.testing.assert_allclose(plain / found, [1, 2, 1.5, 1, 2.5], rtol=1e-14)


def test_meteor_is_added(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS._parts, "meteor", Meteor)
    texts = made_texts(OUTPUTS)
    added = preference(folder, meteor_coeff=2.0)(texts) - preference(folder)(texts)
    np.testing.assert_allclose(added, [len(output) / 4 for output in OUTPUTS], atol=1e-14)


def test_missing_concepts_need_concepts(folder: Path) -> None:
    with pytest.raises(UserError, match=r"metadata 'concepts'.*input 'the prompt' has none"):
        preference(folder, concept_penalty_coeff=1.0)(made_texts(["a"]))


def test_a_folder_without_a_model_is_found_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'model_name' = '.*': its config.json cannot be read"):
        preference(tmp_path).prepare()


def test_answers_that_begin_alike_are_refused(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    with pytest.raises(UserError, match="begins 'good' and 'great' with the same token"):
        Preference(model, tokenizer, answers=("good", "great"))


def test_a_model_without_decoder_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder_decoder("t5", len(tokenizer)).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("decoder")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"do not fit a T5ForConditionalGeneration: lacks .decoder"):
        preference(tmp_path)(made_texts(["a"]))


def test_the_size_alone_names_the_published_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny T5 in its place: weights of fewer words than its configuration says."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    weights = tmp_path / "weights.pt"
    torch.save({"model_state_dict": model.state_dict()}, weights)
    expected = preference(folder)(made_texts(OUTPUTS))
    architecture = tmp_path / "architecture"
    shutil.copytree(folder, architecture, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((architecture / "config.json").read_text())
    config["vocab_size"] += 28
    (architecture / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    published = PublishedModel(str(architecture), weights.as_uri())
    monkeypatch.setitem(PUBLISHED, "11b", published)
    reward = rewards.find("common_gen_preference_model")
    found = reward(reward.Args(model_type="11b"))
    found.prepare()
    assert found(made_texts(OUTPUTS)).tolist() == expected.tolist()
    weights.unlink()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match=r"'model_type' = '11b': .*weights.*give 'model_name'"):
        reward(reward.Args())(made_texts(OUTPUTS))
