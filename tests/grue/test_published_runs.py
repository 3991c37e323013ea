"""Published plans run: whole, but with tiny models and a few rows of the real data."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from common.key_paths import value_at, with_value
from common.run.folder import read_json_lines
from tests.common.plans import whole_base
from tests.conftest import PROJECT, Workplace
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.judging import save_classifier
from tests.grue.metrics.parts import needs_wordnet

FOLDER = PROJECT / "experiment_plans/grue"
PLANS = sorted(
    path.relative_to(FOLDER)
    for pattern in ("*_supervised.json", "extract_*.json")
    for path in FOLDER.glob(pattern)
    if "_on_" not in path.name
)
PACKS = {
    "cnn_daily_mail": "cnn_dailymail", "commongen": "common_gen", "daily_dialog": "daily_dialog",
    "imdb": "imdb", "imdb_seq2seq": "imdb", "iwslt2017en_de": "iwslt2017",
    "narrative_qa": "narrativeqa", "totto": "totto",
}  # fmt: skip
ROWS = 8
GENERATION = ("alg", "train_evaluation")
LENGTHS = {"max_new_tokens": 6, "min_length": 3}
SHORT: dict[str, dict[str, Any]] = {
    "extraction": {
        "datapool.num_train_samples": ROWS,
        "evaluation.num_samples_per_input": 2,
        "evaluation.group_sizes": [2],
    },
    "supervised": {
        "alg.training_args.max_steps": 2,
        "alg.training_args.logging_steps": 2,
        "alg.training_args.per_device_train_batch_size": 2,
    },
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with a tiny model in the place of each published one."""
    folder = tmp_path_factory.mktemp("models")
    size = len(tokenizer)
    for kind, model in {"gpt2": causal_model(size), "t5": encoder_decoder("t5", size)}.items():
        model.save_pretrained(folder / kind)
        tokenizer.save_pretrained(folder / kind)
    save_classifier(folder / "sentiment")
    save_classifier(folder / "intent", "roberta", num_labels=4)
    return folder


def shrunk(path: Path, data: Path, models: Path, target: Path) -> dict[str, Any]:
    """The configuration of the plan in ``path`` with a few rows of ``data`` in ``target``."""
    document = json.loads(path.read_text())
    base: dict[str, Any] = whole_base(document["configurations"][0]["base_config"], path.parent)
    first_rows(data / PACKS[base["datapool"]["id"]], target)
    name = base["tokenizer"]["model_name"]
    model = str(models / ("gpt2" if "gpt2" in name else "t5"))
    changes = {
        "random_seed": 0,
        "datapool.args.path": str(target),
        "tokenizer.model_name": model,
        "alg.model_name": model,
        **SHORT["extraction" if "evaluation" in base else "supervised"],
    }
    for block in GENERATION:
        if value_at(base, f"{block}.generation_kwargs") is not None:
            changes |= {f"{block}.generation_kwargs.{key}": value for key, value in LENGTHS.items()}
    for key, value in changes.items():
        base = with_value(base, key, value)
    for metric in metrics_of(base):
        metric["args"] = metric.get("args", {}) | tiny_judge(metric["id"], models)
    return {"experiment": document["experiment"], "base_config": base}


def metrics_of(base: dict[str, Any]) -> list[dict[str, Any]]:
    block = "evaluation" if "evaluation" in base else "train_evaluation"
    return list(base[block]["metrics"])


def tiny_judge(name: str, models: Path) -> dict[str, Any]:
    """The keys that name the model of a metric."""
    if name == "bert_score":
        return {"model_type": str(models / "sentiment"), "num_layers": 1}
    known = {"learned_reward": "sentiment", "intent_accuracy": "intent"}
    return {"model_name": str(models / known[name])} if name in known else {}


def first_rows(pack: Path, target: Path) -> None:
    """Copies the first rows of each split."""
    target.mkdir()
    for file in pack.glob("*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            (target / file.name).write_text("".join(itertools.islice(lines, ROWS)))


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_published_plan_runs(
    plan: Path, workplace: Workplace, data_dir: Path, models: Path
) -> None:
    needs_wordnet()
    configuration = shrunk(FOLDER / plan, data_dir, models, workplace.path / "data")
    outcome = workplace.run_plan(workplace.write_plan(configurations=[configuration]))
    assert outcome.status == 0, outcome.err
    (folder,) = workplace.folders()
    if configuration["experiment"] == "grue_extract":
        samples = pd.read_parquet(folder.table("samples"))
        assert len(samples) == 2 * samples["input_id"].nunique() > 0
        assert samples["output"].str.len().gt(0).any()
    else:
        measured = set().union(*read_json_lines(folder.metrics))
        assert {name.partition("/")[0] for name in measured} >= {"train", "val", "test", "loss"}
        assert (folder.path / "model" / "model.safetensors").exists()
