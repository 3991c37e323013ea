from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.config.resolve import resolve
from common.errors import UserError
from common.hashing import fingerprint
from grue import rewards
from grue.metrics.config import MetricConfig
from grue.metrics.metric import NoArgs
from grue.rewards.config import RewardConfig
from grue.rewards.reward import Reward, Rewards
from grue.rewards.shaping import ShapedArgs
from grue.texts import Texts
from tests.grue.metrics import parts
from tests.grue.metrics.parts import CAT, DOG, needs_wordnet, texts

PROMPTS = ["generate a sentence with: dog park run."] * 3


def make(name: str, **args: Any) -> Reward[Any]:
    return RewardConfig(id=name, args=args).build()


@pytest.mark.parametrize(
    ("name", "args", "value"),
    [
        ("rouge", {"rouge_type": "rouge1"}, 0.833333),
        ("rouge", {"rouge_type": "rouge2"}, 0.6),
        ("rouge", {"rouge_type": "rougeL"}, 0.833333),
        ("rouge", {"rouge_type": "rougeLsum"}, 0.833333),
        ("rouge_combined", {}, (0.833333 + 0.6 + 0.833333) / 3),
        ("rouge_l_max", {"weight_factor": 1.2}, 0.859044),
        ("sacre_bleu", {}, 0.379918),
        ("chrf", {}, 0.645779),
        ("ter", {}, 0.833333),
        ("meteor", {}, 0.806667),
        ("meteor", {"stringify_references": True}, 0.431034),
        ("bleu", {}, 0.0),
        ("length", {}, 6),
    ],
)
def test_golden_values(name: str, args: dict[str, Any], value: float) -> None:
    if name == "meteor":
        needs_wordnet()
    found = make(name, **args)(texts(CAT, ("", CAT[1])))
    assert found[0] == pytest.approx(value, abs=7e-7)
    assert found[1] == 0


def test_a_reward_takes_the_keys_of_its_metric() -> None:
    pair = "Das ist ein Test.", "Das ist ein kleiner Test."
    assert make("sacre_bleu", tokenize="intl")(texts(pair)) == pytest.approx([0.409365], abs=5e-7)
    best = make("rouge", rouge_type="rouge1", use_single_ref=False)
    assert best(texts((CAT[0], "dog", CAT[0]))).tolist() == [1]


def test_edits_can_cost_more_than_a_copy_gains() -> None:
    pairs = ("many words more than there ought to be", "one"), DOG
    assert make("ter")(texts(*pairs)).tolist() == (1 - parts.scores("ter", *pairs)).tolist()
    assert make("ter")(texts(*pairs))[0] < 0


@pytest.mark.parametrize("batched", ["", "_batched"])
def test_repeating_the_prompt_costs_one(batched: str) -> None:
    pairs = ("dog park run", "r"), ("A dog runs", "r"), ("Sentence", "r")
    found = make(f"common_gen_repeat_penalty{batched}")(texts(*pairs, prompts=PROMPTS))
    assert found.tolist() == [-1, 0, -1]
    assert not np.signbit(found[1])


@pytest.mark.parametrize("name", ["meteor", "rouge", "rouge_combined"])
def test_another_reward_is_added(name: str) -> None:
    if name == "meteor":
        needs_wordnet()
    args = {"rouge_type": "rougeL"} if name == "rouge" else {}
    pairs = texts(CAT, ("dog park run", "a dog"), DOG, prompts=PROMPTS)
    shaped = make(name, **args, shaping_fn="common_gen_repeat_penalty")
    alone, penalty = make(name, **args), make("common_gen_repeat_penalty")
    assert shaped(pairs).tolist() == (alone(pairs) + penalty(pairs)).tolist()
    assert make(name, **args, shaping_fn="")(pairs).tolist() == alone(pairs).tolist()


@pytest.mark.parametrize(("name", "args", "is_needed"), [
    ("meteor", {}, True),
    ("rouge_combined", {}, False),
    ("rouge_combined", {"shaping_fn": "meteor"}, True),
    ("intent_accuracy", {"model_name": "some/model"}, True),
    ("intent_accuracy", {"model_name": "some/model", "shape": False}, False),
    ("common_gen_preference_model", {"model_name": "some/model"}, False),
    ("common_gen_preference_model", {"model_name": "some/model", "meteor_coeff": 1.0}, True),
])  # fmt: skip
def test_rewards_with_meteor_in_them_need_wordnet(
    name: str, args: dict[str, Any], is_needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    told = [str(problem) for problem in RewardConfig(id=name, args=args).missing()]
    assert len(told) == is_needed
    assert all("'python -m nltk.downloader wordnet'" in message for message in told)


def test_shaping_that_cannot_be_is_refused() -> None:
    def told(name: str) -> str:
        return " ".join(map(str, RewardConfig(id="meteor", args={"shaping_fn": name}).problems()))

    assert "unknown reward; did you mean 'chrf'?" in told("chfr")
    assert "'args.shaping_fn' = 'rouge': has keys that must be given" in told("rouge")
    assert told("chrf") == ""


class PerToken(Reward[NoArgs]):
    def __call__(self, texts: Texts) -> Rewards:
        return np.zeros((len(texts), 5))


def test_a_number_per_token_is_not_added_to_one_per_output() -> None:
    name = "custom:tests.grue.rewards.test_lexical:PerToken"
    with pytest.raises(UserError, match=r"shaping_fn.*one number for each of 5 tokens"):
        make("rouge_combined", shaping_fn=name)(texts(CAT))
    assert list(ShapedArgs(shaping_fn=name).problems()) == []


def test_processes_do_not_change_what_a_run_is() -> None:
    def identity(**args: Any) -> str:
        config, problems = resolve(MetricConfig, {"id": "rouge", "args": args})
        assert config is not None and not problems
        return fingerprint(config.identity())

    assert identity() == identity(num_workers=4)
    assert identity() != identity(use_single_ref=False)


def test_all_are_registered() -> None:
    known = {
        "rouge", "rouge_combined", "rouge_l_max", "meteor", "bleu", "sacre_bleu", "chrf", "ter",
        "length", "common_gen_repeat_penalty",
    }  # fmt: skip
    assert known <= set(rewards.REWARDS.names())


def per_output(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> list[float]:
    return [10.0] * len(outputs)


def test_a_function_may_shape_a_reward() -> None:
    name = "custom:tests.grue.rewards.test_lexical:per_output"
    plain, shaped = (make("rouge_combined", shaping_fn=fn)(texts(CAT)) for fn in (None, name))
    np.testing.assert_allclose(shaped, plain + 10, rtol=0, atol=1e-12)
