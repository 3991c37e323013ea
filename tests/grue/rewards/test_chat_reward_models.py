"""Reward models that read prompt and output as messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from numpy.testing import assert_allclose
from transformers import AutoTokenizer

from common.errors import UserError
from grue.rewards.config import RewardConfig
from grue.scorers.classifier import load_classifier
from grue.scorers.options import ScorerArgs
from tests.grue.judging import save_classifier, texts

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] }} {{ m['content'] }} {{ eos_token }}{% endfor %}"
)
SAID = texts(["a dog", "the mat"], prompts=["<the cat>", "<good>"])


def test_messages_are_written_by_the_models_own_template(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "judge", "gpt2", num_labels=1)
    args = {"model_name": str(folder), "output": "score", "chat_template": True,
            "prompt_prefix": "<", "prompt_suffix": ">"}  # fmt: skip
    reward = RewardConfig(id="learned_preference", args=args)
    assert not list(reward.problems())
    with pytest.raises(UserError, match="has no chat template"):
        reward.build()(SAID)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    end = tokenizer.eos_token
    written = [f"u the cat {end}a a dog {end}", f"u good {end}a the mat {end}"]
    classifier = load_classifier(str(folder), "model_name", ScorerArgs())
    found = reward.build()(SAID)
    assert_allclose(found, classifier.logits(written)[:, 0], rtol=1e-5)
    plain = RewardConfig(id="learned_preference", args=args | {"chat_template": False})
    assert abs(plain.build()(SAID) - found).min() > 1e-3
    both = RewardConfig(id="learned_preference", args=args | {"repeat_prompt": True})
    assert "chat_template" in str(next(iter(both.problems())))
