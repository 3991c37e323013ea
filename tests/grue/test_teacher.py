"""Runs that measure reward models as teachers: measures, resumption, and what they refuse."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

from common.run.folder import RunFolder
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS, BROKEN, LETTERS
from tests.grue.tasks.conftest import write_jsonl
from tests.grue.test_extract import extraction

K = 4
NAMES = ["ground_truth", "length", "scaled", "table"]


def teacher(model: Path, **changes: Any) -> dict[str, Any]:
    """A run that measures three rewards on samples that an extraction has left."""
    keys = extraction(model) | {
        "experiment": "teacher",
        "experiment_name": "teacher",
        "datapool.id": "ranked_samples",
        "datapool.args": {"path": "@before.samples", "metric": "lexical/overlap"},
        "evaluation.metrics": [],
        "samples": "@before.samples",
        "ground_truth": {"id": LETTERS},
        "rewards": [
            {"name": "length", "id": "length"},
            {"name": "scaled", "id": "scaled_prompts", "args": {"reward": {"id": LETTERS}}},
            {"name": "table", "id": "precomputed",
             "args": {"path": "@before.samples", "column": "lexical/overlap"}},
        ],
    }  # fmt: skip
    del keys["datapool.num_train_samples"]
    return keys | changes


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def made(workplace: Workplace, model: Path, **changes: Any) -> RunFolder:
    """The folder of the run, with the one before it."""
    plan = write(workplace, {"id": "before", **extraction(model)}, teacher(model, **changes))
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    return next(f for f in workplace.folders() if f.path.name.startswith("teacher"))


def log_prob(model: Path, ids: list[int], start: int) -> float:
    """Log-probability of the tokens from ``start`` on."""
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([ids])).logits
    taken = logits.log_softmax(-1)[0, start - 1 : -1].gather(-1, torch.tensor(ids)[start:, None])
    return float(taken.sum())


def by_hand(samples: pd.DataFrame, name: str) -> tuple[float, float, float]:
    """Accuracy and harm-aware accuracy of pairs, and normalised variance, by loops."""
    right, harmless, variances = [], [], []
    column = name if name == "ground_truth" else f"rewards/{name}"
    for _, rows in samples.groupby("index"):
        rewards, truth = rows[column].to_numpy(), rows["ground_truth"].to_numpy()
        variances.append(rewards.var(ddof=1))
        for i, j in itertools.permutations(range(len(rows)), 2):
            if truth[i] > truth[j]:
                right.append(rewards[i] > rewards[j])
                harmless.append(rewards[i] > rewards[j] or rewards[j] < rewards.mean())
    return (
        float(np.mean(right)),
        float(np.mean(harmless)),
        float(np.mean(variances) / samples[column].var(ddof=1)),
    )


def test_measures_are_those_of_the_tables(workplace: Workplace, model: Path) -> None:
    folder = made(workplace, model)
    samples = pd.read_parquet(folder.table("samples"))
    found = pd.read_parquet(folder.table("teachers")).set_index(["reward", "measure"])
    assert list(dict.fromkeys(found.index.get_level_values(0))) == NAMES
    assert len(samples) == K * samples["index"].nunique() > 4 * K
    for name in NAMES:
        values = found.loc[name, "value"]
        measured = values[
            ["on_policy/accuracy", "on_policy/harm_aware_accuracy", "reward_variance"]
        ]
        assert measured.tolist() == pytest.approx(by_hand(samples, name))
        assert (found.loc[name, "low"] <= values + 1e-12).all()
        assert (found.loc[name, "high"] >= values - 1e-12).all()
    truth = found.loc["ground_truth", "value"]
    assert truth["on_policy/accuracy"] == truth["on_policy/accuracy_weighted"] == 1.0
    assert truth["correlation"] == truth["off_policy/accuracy"] == pytest.approx(1.0)
    assert found.loc["scaled", "value"]["on_policy/accuracy"] == 1.0
    assert found.loc["scaled", "value"]["correlation"] < 0.99

    by_input = pd.read_parquet(folder.table("teachers_by_input"))
    assert by_input["input_id"].nunique() == samples["input_id"].nunique()
    constants = json.loads((folder.path / "normalization.json").read_text())
    assert list(constants) == NAMES
    for name, of in constants.items():
        column = samples[name if name == "ground_truth" else f"rewards/{name}"]
        assert of["shift"] == pytest.approx(-column.mean())
        assert of["scale"] == pytest.approx((column.var() + 1e-8) ** -0.5)
    effective = json.loads((folder.path / "effective_pairs.json").read_text())
    assert effective["on_policy"]["all"] > effective["on_policy"]["all_weighted_by_texts"] >= 1


def test_responses_of_the_data_are_compared_off_policy(workplace: Workplace, model: Path) -> None:
    folder = made(workplace, model, preferred="data")
    responses = pd.read_parquet(folder.table("responses"))
    assert set(responses["source"]) == {"data"}
    found = pd.read_parquet(folder.table("teachers")).set_index(["reward", "measure"])["value"]
    right = [
        (rows["rewards/length"] >= rows.loc[rows["rewards/table"].idxmax(), "rewards/length"]).sum()
        for _, rows in responses.groupby("index")
    ]
    assert found["length", "off_policy/accuracy"] == pytest.approx(np.mean(np.array(right) == 1))
    assert found["table", "off_policy/accuracy"] == 1.0  # the data were ranked by it

    row = responses.iloc[0]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    prompt, output = (tokenizer(row[name])["input_ids"] for name in ("prompt", "output"))
    ids = [*prompt, *output, tokenizer.eos_token_id][: len(prompt) + 6]
    assert row["log_prob"] == pytest.approx(log_prob(model, ids, len(prompt)), abs=1e-4)
    assert row["num_tokens"] == len(ids) - len(prompt)


def test_a_chat_policy_and_reward_models_read_messages_by_their_own_templates(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A policy writes the beginning of its answer behind its template; rewards read the prompt."""
    policy, judge = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    policy.chat_template, judge.chat_template = (
        "{% for m in messages %}" + mark + "{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}:{% endif %}"
        for mark in ("a", "b")
    )
    save_model(tmp_path / "policy", policy)
    classifier = GPT2ForSequenceClassification(
        GPT2Config(vocab_size=len(judge), n_positions=64, n_embd=16, n_layer=1, n_head=1,
                   num_labels=1, pad_token_id=judge.pad_token_id, initializer_range=0.5)
    ).eval()  # fmt: skip
    classifier.save_pretrained(tmp_path / "judge")
    judge.save_pretrained(tmp_path / "judge")
    pairs = [{"prompt": f"{n}", "chosen": "the cat", "rejected": "a dog"} for n in range(6)]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    rewarded = {
        "id": "learned_preference",
        "args": {"model_name": str(tmp_path / "judge"), "output": "score", "chat_template": True},
    }
    run = teacher(
        tmp_path / "policy", samples=None, ground_truth=rewarded,
        rewards=[{"name": "length", "id": "length"}],
    )  # fmt: skip
    run["datapool.id"] = "preferences"
    run["datapool.args"] = {"path": str(tmp_path / "pairs.jsonl"), "chat_template": True}
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0, outcome.err
    (folder,) = workplace.folders()
    row = pd.read_parquet(folder.table("responses")).iloc[0]
    asked, answer = (tokenizer(text)["input_ids"] for text in (f"a{row['prompt']}:", row["output"]))
    ids = [*asked, *answer, tokenizer.eos_token_id][: len(asked) + 6]
    assert row["log_prob"] == pytest.approx(
        log_prob(tmp_path / "policy", ids, len(asked)), abs=1e-4
    )
    read = judge(f"b{row['prompt']}b{row['output']}", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert row["ground_truth"] == pytest.approx(classifier(read).logits.item(), abs=1e-4)


def test_a_run_that_was_stopped_ends_with_the_same_tables(
    workplace: Workplace, model: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "mended"
    given: dict[str, Any] = {
        "samples": None,
        "evaluation.eval_batch_size": 3,
        "rewards": teacher(model)["rewards"][:2],
        "evaluation.metrics": [{"id": BROKEN, "args": {"marker": str(marker)}}],
    }
    plan = write(workplace, {"id": "before", **extraction(model)}, teacher(model, **given))
    assert workplace.run_plan(plan).status == 1
    folder = next(f for f in workplace.folders() if f.path.name.startswith("teacher"))
    assert list((folder.path / "samples").glob("*.parquet"))
    marker.touch()
    assert workplace.run_plan(plan, "--retry_failed").status == 0
    tables = ("samples", "responses", "teachers", "teachers_by_input")
    continued = [pd.read_parquet(folder.table(name)) for name in tables]
    shutil.rmtree(folder.path)
    assert workplace.run_plan(plan).status == 0
    again = next(f for f in workplace.folders() if f.path.name.startswith("teacher"))
    for name, table in zip(tables, continued, strict=True):
        pd.testing.assert_frame_equal(table, pd.read_parquet(again.table(name)))


def test_a_plan_with_wrong_rewards_is_refused_whole(workplace: Workplace, model: Path) -> None:
    wrong = teacher(
        model,
        samples=None,
        rewards=[
            {"name": "ground_truth", "id": "length"},
            {"name": "a", "id": "lenght"},
            {"name": "a", "id": "normalized",
             "args": {"reward": {"id": "length"}, "constants": "@teacher.normalisation",
                      "name": "a"}},
        ],
    )  # fmt: skip
    wrong["evaluation.num_samples_per_input"] = 1
    plan = write(workplace, {"id": "before", **extraction(model)}, {"id": "teacher", **wrong})
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    for told in ("the name 'a' is taken: 2 rewards have it", "'ground_truth' is taken",
                 "did you mean 'length'", "give 2 or more"):  # fmt: skip
        assert told in outcome.err, told


def test_a_table_must_have_the_outputs(workplace: Workplace, model: Path) -> None:
    changes = {"evaluation.num_samples_per_input": K + 1}
    plan = write(workplace, {"id": "before", **extraction(model)}, teacher(model, **changes))
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    assert f"has {K} outputs for the prompt" in outcome.err


def test_an_output_that_was_cut_gets_no_end(
    workplace: Workplace, model: Path, tmp_path: Path
) -> None:
    """Its text is read as fewer tokens than it was drawn as."""
    texts = ["the cat", "a", "cat", "the"]
    plan = write(workplace, extraction(model))
    assert workplace.run_plan(plan).status == 0
    (before,) = workplace.folders()
    samples = pd.read_parquet(before.table("samples"))
    samples["output"] = texts * (len(samples) // K)
    samples["num_tokens"] = [6, 3, None, 6] * (len(samples) // K)
    given = tmp_path / "given.parquet"
    samples.to_parquet(given)
    run = teacher(model, samples=str(given), rewards=[{"name": "length", "id": "length"}])
    run["datapool.id"], run["datapool.args"] = ANIMALS, {}
    run["datapool.num_train_samples"] = 10
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0, outcome.err
    folder = next(f for f in workplace.folders() if f.path.name.startswith("teacher"))
    found = pd.read_parquet(folder.table("samples"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    num_read = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    assert num_read.max() < 5
    assert found["num_tokens"].tolist()[:K] == np.add(num_read, [0, 1, 1, 0]).tolist()
