"""Samples and gradients that are kept by model, prompt and settings, whatever the reward is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.run.folder import read_json
from grue.experiments.extract import drawn
from grue.policies.policy import Policy
from grue.policies.score_products import score_products
from grue.rl.expected_gradient import squared_norm
from tests.conftest import Workplace
from tests.grue.conftest import causal_model, save_model, write
from tests.grue.test_extract import K, extraction, samples_of


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Number of inputs whose outputs were sampled, and differentiated."""
    found = {"sampled": 0, "differentiated": 0}
    sample = Policy.drawn

    def sampled(self, prompts, *args, **keys):
        found["sampled"] += len(prompts)
        return sample(self, prompts, *args, **keys)

    def differentiated(*args, **keys):
        found["differentiated"] += 1
        return score_products(*args, **keys)

    monkeypatch.setattr(Policy, "drawn", sampled)
    monkeypatch.setattr(drawn, "score_products", differentiated)
    return found


def records(cache: Path) -> list[Path]:
    return [path for path in sorted(cache.glob("*/*.json")) if path.name != "settings.json"]


def test_another_reward_samples_and_differentiates_nothing(
    workplace: Workplace, model: Path, counts: dict[str, int], tokenizer: PreTrainedTokenizerFast
) -> None:
    cached = {"evaluation__sample_cache": str(workplace.path / "cache"),
              "evaluation__gradients": True, "evaluation__eval_batch_size": 3}  # fmt: skip
    first = extraction(model, **cached)
    assert workplace.run_plan(write(workplace, first)).status == 0
    assert counts == {"sampled": 10, "differentiated": 10}
    other = extraction(model, reward_fn={"id": "length"}, **cached, datapool__num_train_samples=20)
    del other["evaluation.metrics"]
    assert workplace.run_plan(write(workplace, other)).status == 0
    assert counts == {"sampled": 20, "differentiated": 20}  # the ten further inputs alone
    longer = extraction(model, **cached, random_seed=6)
    assert workplace.run_plan(write(workplace, longer)).status == 0
    assert counts["sampled"] == 30

    (of_other,) = [f for f in workplace.folders() if "reward" in samples_of(f)]
    stats, samples = pd.read_parquet(of_other.table("reward_stats")), samples_of(of_other)
    first_texts = samples["output"][:K].tolist()
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    kept = [read_json(path)["outputs"] for path in records(workplace.path / "cache")]
    outputs = next(one for one in kept if policy.decode(one) == first_texts)
    products = score_products(policy, *policy.encode([samples["prompt"][0]], 64), outputs, 1.0)
    found = squared_norm(samples["reward"][:K].to_numpy(float), products.numpy())
    assert stats["grad_squared_norm"][0] == pytest.approx(found.value, rel=1e-3)
    assert stats["grad_squared_norm_se"][0] == pytest.approx(found.standard_error, rel=1e-3)
    silent = stats["zero_std"]
    assert (stats["grad_squared_norm"][silent] == 0).all()
    assert (stats["grad_squared_norm_se"][~silent] > 0).all()


def test_damaged_and_changed_samples_are_drawn_again(
    workplace: Workplace, model: Path, counts: dict[str, int], tokenizer: PreTrainedTokenizerFast
) -> None:
    cache = workplace.path / "cache"
    runs = [extraction(model, evaluation__sample_cache=str(cache), evaluation__low_std=low)
            for low in (0.1, 0.2, 0.3)]  # fmt: skip
    assert workplace.run_plan(write(workplace, runs[0])).status == 0
    records(cache)[0].write_text('{"outputs": 3}')
    assert workplace.run_plan(write(workplace, runs[1])).status == 0
    assert counts["sampled"] == 11
    causal_model(len(tokenizer), seed=1).save_pretrained(model)
    assert workplace.run_plan(write(workplace, runs[2])).status == 0
    assert counts["sampled"] == 21  # of the other weights


def test_a_killed_run_differentiates_no_input_twice(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def failing(*args, **keys):
        calls.append(1)
        if len(calls) == 6:
            raise UserError("killed")
        return score_products(*args, **keys)

    run = extraction(model, evaluation__gradients=True)
    monkeypatch.setattr(drawn, "score_products", failing)
    assert workplace.run_plan(write(workplace, run)).status != 0
    (folder,) = workplace.folders()
    assert len(records(folder.path / "drawn")) == 8  # two batches are sampled
    assert workplace.run_plan(write(workplace, run), "--retry_failed").status == 0
    assert len(calls) == 6 + 5
    assert not (folder.path / "drawn").exists()
    whole = extraction(model, evaluation__gradients=True, evaluation__eval_batch_size=5)
    assert workplace.run_plan(write(workplace, whole)).status == 0
    one, other = (pd.read_parquet(f.table("reward_stats")) for f in workplace.folders())
    np.testing.assert_allclose(one["grad_squared_norm"], other["grad_squared_norm"], rtol=1e-3)


def test_filters_and_few_samples_are_refused(workplace: Workplace, model: Path) -> None:
    settings = {"do_sample": True, "top_k": 5, "top_p": 0.9, "max_new_tokens": 6, "min_length": 2,
                "repetition_penalty": 1.5}  # fmt: skip
    run = extraction(model, evaluation__gradients=True, evaluation__num_samples_per_input=3,
                     alg__generation_kwargs=settings)  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    for key in ("top_k' = 5", "top_p' = 0.9", "min_length' = 2", "repetition_penalty' = 1.5"):
        assert key in outcome.err
    assert "'evaluation.gradients' needs at least 4; raise it" in outcome.err
