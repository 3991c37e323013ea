"""Which revision of the hub's models runs read, and what they say of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from transformers import PreTrainedTokenizerFast

from common.config.base import Config
from common.machine import hub_offline as hub
from common.run.folder import read_json
from grue import metrics, rewards
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.by_models.summac import SummacConvArgs
from grue.metrics.config import MetricConfig
from grue.models.config import TokenizerConfig
from grue.scorers.summac import Convolution
from grue.tasks.config import TaskConfig
from tests.conftest import Workplace, cache_as_hub
from tests.grue.conftest import encoder_decoder, nested, save_model, write
from tests.grue.judging import save_classifier, texts
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement
from tests.grue.test_reward_model import GENERATION, write_data

TINY = "lab/tiny"
V1 = {"revision": "v1"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def commit(tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """The commit of a model's only revision in the cache: it has no default branch there."""
    return cache_as_hub(cache, TINY, {"v1": save_model(tmp_path / "model", tokenizer)})["v1"]


def test_provenance_tells_versions_and_commits(
    workplace: Workplace, cache: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    commits = cache_as_hub(cache, TINY, {"old": model, "main": model})
    assert workplace.run_plan(write(workplace, extraction(Path(TINY)))).status == 0
    (folder,) = workplace.folders()
    found = read_json(folder.provenance)
    assert found["hub"] == {TINY: commits["main"]}
    for package in ("transformers", "datasets", "tokenizers", "peft", "accelerate"):
        assert found["versions"][package] == version(package)


def test_text_runs_read_the_revision(workplace: Workplace, commit: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", 2, train=16)
    classifier = save_classifier(tmp_path / "judge")
    judged = cache_as_hub(tmp_path / "hub", "lab/judge", {"v1": classifier})["v1"]
    short: dict[str, Any] = {"train_evaluation__n_iters": 1}
    training = {"num_train_epochs": 1, "per_device_train_batch_size": 16}
    runs = [
        extraction(Path(TINY), alg__revision="v1"),
        finetuning(Path(TINY), alg__revision="v1", alg__training_args={"num_train_epochs": 1}),
        reinforcement(
            Path(TINY), alg__policy__args__revision="v1", alg__policy__critic=TINY,
            alg__policy__critic_revision="v1", **short
        ),
        {
            "experiment": "reward_model", "experiment_name": "rm", "random_seed": 3,
            "tokenizer.model_name": TINY, "datapool.id": "preferences",
            "datapool.args.path": str(data), "alg.model_name": TINY, "alg.revision": "v1",
            "alg.loss.id": "pairwise", "alg.training_args": training,
            "normalize": {"model_name": TINY, "generation_kwargs": GENERATION, "num_samples": 4,
                          **V1},
        },
        {
            "experiment": "grue_classifier", "experiment_name": "classifier", "random_seed": 3,
            "tokenizer.model_name": "lab/judge", "alg.model_name": "lab/judge",
            "alg.revision": "v1", "alg.training_args": training,
            "datapool.id": "custom:tests.grue.test_classifier:Feelings",
        },
    ]  # fmt: skip
    plan = write(workplace, *[{**run, "tokenizer.revision": "v1"} for run in runs])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.out
    found = [read_json(folder.provenance)["hub"] for folder in workplace.folders()]
    expected = [{f"{TINY}@v1": commit}] * 4 + [{"lab/judge@v1": judged}]
    assert sorted(found, key=str) == sorted(expected, key=str)


_JUDGES: list[tuple[str, Mapping[str, Any]]] = [
    ("learned_reward", {"model_name": "lab/judge", "label_ix": 0, **V1}),
    ("learned_preference", {"model_name": "lab/judge", "output": "ratings", **V1}),
    ("intent_accuracy", {"model_name": "lab/judge", **V1}),
    ("bleurt", {"config_name": "lab/rating", **V1}),
    ("bert_score", {"model_type": "lab/judge", "num_layers": 1, **V1}),
    ("summaCZS", {"model_name": "lab/judge", **V1}),
    ("summaCConv", {"models": ["lab/judge"], "revisions": {"lab/judge": "v1"}, "bins": "even4",
                    "granularity": "document"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), _JUDGES, ids=[name for name, _ in _JUDGES])
def test_judges_read_the_revision(
    tmp_path: Path, cache: Path, name: str, args: dict[str, Any]
) -> None:
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    judge = save_classifier(tmp_path / "judge", num_labels=3, id2label=labels)
    rating = save_classifier(tmp_path / "rating", num_labels=1)
    commits = {"lab/judge@v1": cache_as_hub(cache, "lab/judge", {"v1": judge})["v1"]}
    commits["lab/rating@v1"] = cache_as_hub(cache, "lab/rating", {"v1": rating})["v1"]
    if name == "summaCConv":
        shapes = dict(zip(Convolution.NAMES, ((1, 4), (1,), (2, 3), (2,)), strict=True))
        torch.save({key: torch.ones(shape) for key, shape in shapes.items()}, tmp_path / "conv.bin")
        args = {**args, "start_file": str(tmp_path / "conv.bin")}
    hub.forget_commits()
    metric = metrics.find(name)
    given = texts(["the cat sat on the mat"], [["the dog"]], metadata=[{"intent": 1}])
    metric(metric.Args(**args)).scores(given)
    found = hub.commits()
    assert found and found.items() <= commits.items()


def test_the_preference_model_reads_the_revision(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder_decoder("t5", len(tokenizer)).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    commits = cache_as_hub(cache, "lab/t5", {"v1": tmp_path / "t5"})
    hub.forget_commits()
    reward = rewards.find("common_gen_preference_model")
    reward(reward.Args(model_name="lab/t5", **V1))(texts(["the cat"]))
    assert hub.commits() == {"lab/t5@v1": commits["v1"]}


def test_a_revision_that_is_not_there_is_named(workplace: Workplace, commit: str) -> None:
    run = extraction(Path(TINY), tokenizer__revision="v1", alg__revision="v2")
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert f"'alg.model_name' = '{TINY}': there is no such folder, its revision 'v2' is not" in (
        outcome.err
    )


def test_revisions_of_what_is_not_of_the_hub_are_refused(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    run = reinforcement(
        model,
        tokenizer__revision="v1",
        alg__policy__args__revision="v1",
        alg__policy__critic_revision="v1",
        datapool={"id": "commongen", "args": {"path": str(model), "revision": "v1"}},
        train_evaluation__metrics=[
            {"id": "learned_reward", "args": {"model_name": str(model), "label_ix": 0, **V1}},
            {"id": "summaCConv", "args": {"start_file": str(model / "config.json"),
                                          "revisions": {"vitcc": "v1"}}},
        ],
    )  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    for key in (
        "tokenizer.revision",
        "alg.policy.args.revision",
        "alg.policy.critic_revision",
        "datapool.args.revision",
        "train_evaluation.metrics[0].args.revision",
        "train_evaluation.metrics[1].args.revisions.vitcc",
    ):
        assert f"'{key}' = 'v1': is of a " in outcome.err, key


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (TokenizerConfig, {"model_name": "gpt2"}),
        (TaskConfig, {"id": "imdb"}),
        (MetricConfig, {"id": "intent_accuracy"}),
        (SummacConvArgs, {"start_file": None}),
    ],
)
def test_runs_without_a_revision_are_what_they_were(
    config: type[Config], keys: dict[str, Any]
) -> None:
    identity = config(**keys).identity()
    assert not any("revision" in name for name in {*identity, *identity.get("args", {})})


@pytest.mark.parametrize("key", ["tokenizer", "alg.policy.args", "alg.policy.critic"])
def test_a_revision_is_part_of_what_a_run_is(key: str) -> None:
    plain = reinforcement(Path(TINY), alg__policy__critic="lab/critic")
    del plain["experiment"]
    name = "alg.policy.critic_revision" if key.endswith("critic") else f"{key}.revision"
    of_plain, pinned = (
        FinetuneConfig.model_validate(nested(keys)).identity()
        for keys in (plain, {**plain, name: "v1"})
    )
    assert of_plain != pinned
