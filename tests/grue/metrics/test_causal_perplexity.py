"""Perplexity of the policy on the references, by windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.errors import UserError
from grue import metrics
from grue.policies.policy import Policy
from grue.scorers.perplexity import perplexity, windows
from tests.grue.conftest import encoder_decoder
from tests.grue.judging import texts

KEY = "fluency_metrics/perplexity"
REFERENCES = [["the cat sat", "a dog"], ["numbers 1 2 3"]]


def metric(**args: object) -> metrics.Metric:
    kind = metrics.find("causal_perplexity")
    return kind(kind.Args(**{"stride": 8, "tokenizer_id": "gpt2", "model_type": "causal", **args}))


def losses(policy: Policy, ids: list[int]) -> np.ndarray:
    """[L] negative log-likelihoods, that of the first token NaN."""
    with torch.no_grad():
        log_probs = policy.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return np.array([np.nan, *(-log_probs[i - 1, ids[i]] for i in range(1, len(ids)))])


def test_in_one_window_it_is_the_exponential_of_the_mean_loss(causal_policy: Policy) -> None:
    found = metric(stride=64).corpus(texts(["", ""], REFERENCES), causal_policy, "val")
    ids = causal_policy.tokenizer("the cat sat\n\na dog\n\nnumbers 1 2 3")["input_ids"]
    assert found == {KEY: pytest.approx(np.exp(losses(causal_policy, ids)[1:].mean()), rel=1e-5)}


@pytest.mark.parametrize(("window", "stride"), [(16, 8), (16, 16), (16, 5), (10, 1), (7, 3)])
def test_windows_agree_with_a_naive_loop(causal_policy: Policy, window: int, stride: int) -> None:
    """Each block of ``stride`` tokens is scored with as much before it as the window holds."""
    ids = [5 + (i * i) % 50 for i in range(49)]
    total = count = 0.0
    for start in range(0, len(ids), stride):
        block = range(start, min(start + stride, len(ids)))
        begin = max(start + stride - window, 0)
        scored = [loss for loss in (
            losses(causal_policy, ids[begin : block[-1] + 1])[i - begin] for i in block
        ) if not np.isnan(loss)]  # fmt: skip
        if scored:
            total, count = total + np.mean(scored) * len(block), count + len(block)
    found = perplexity(causal_policy.model, ids, window, stride)
    assert found == pytest.approx(np.exp(total / count), rel=1e-5)


def test_windows_hold_every_token_as_new_once() -> None:
    for length, window, stride in ((100, 16, 8), (5, 16, 8), (33, 16, 16), (17, 16, 16)):
        found = list(windows(length, window, stride))
        new = [i for _, end, count in found for i in range(end - count, end)]
        assert new == list(range(length))
        assert all(end - begin <= window for begin, end, _ in found)
    with pytest.raises(ValueError, match="stride 17 is not between 1 and the window 16"):
        list(windows(100, 16, 17))


def test_a_stride_beyond_the_models_positions_is_cut_to_them(causal_policy: Policy) -> None:
    given = texts([""], [["the cat sat on the mat " * 30]])
    found = [metric(stride=stride).corpus(given, causal_policy) for stride in (64, 500)]
    assert found[0] == found[1]
    shorter = metric(stride=500, max_length=32).corpus(given, causal_policy)
    assert shorter == metric(stride=32, max_length=32).corpus(given, causal_policy) != found[0]


def test_the_text_may_come_from_the_metadata(causal_policy: Policy) -> None:
    given = texts([""], [["a dog"]], metadata=[{"reference": "the cat sat"}])
    named = metric(use_text_from_meta_data=True).corpus(given, causal_policy)
    assert named == metric().corpus(texts([""], [["the cat sat"]]), causal_policy)
    with pytest.raises(UserError, match="'use_text_from_meta_data': an input has no text"):
        metric(use_text_from_meta_data=True).corpus(texts([""]), causal_policy)


def test_the_training_split_has_none(causal_policy: Policy) -> None:
    assert metric().corpus(texts([""], [["a dog"]]), causal_policy, "train") == {}


def test_what_is_not_defined_is_refused(causal_policy: Policy) -> None:
    decoder = Policy(encoder_decoder("t5", 300), causal_policy.tokenizer)
    with pytest.raises(UserError, match="the policy is an encoder-decoder; take it out"):
        metric().corpus(texts([""], [["a dog"]]), decoder)
    with pytest.raises(UserError, match="the references have fewer than two tokens"):
        metric().corpus(texts([""], [["a"]]), causal_policy)
    with pytest.raises(UserError, match="measures the model, not single outputs"):
        metric().scores(texts([""], [["a dog"]]))
    with pytest.raises(UserError, match="needs references"):
        metric().corpus(texts([""]), causal_policy)
