"""Plans with the tasks of queries: checked, and sampled from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import Workplace
from tests.grue.conftest import TEXTS, save_model, write
from tests.grue.tasks.conftest import write_jsonl

LENGTH = {"eval_batch_size": 4, "num_samples_per_input": 2, "metrics": [{"id": "length"}]}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def extraction(model: Any, task: str, path: Path, **args: Any) -> dict[str, Any]:
    given = {"path": str(path), "tokenizer": str(model), "num_held_out": 0, **args}
    return {
        "experiment": "grue_extract",
        "experiment_name": task,
        "random_seed": 1,
        "tokenizer.model_name": str(model),
        "datapool.id": task,
        "datapool.args": given,
        "alg.model_type": "causal",
        "alg.model_name": str(model),
        "alg.generation_kwargs": {"do_sample": True, "top_k": 0, "max_new_tokens": 4},
        "evaluation": LENGTH,
    }


def books(folder: Path) -> Path:
    texts = [f"start. {text}. It ran.then" for text in TEXTS]
    (folder / "books.txt").write_text("\n".join([*texts, "no stop"]))
    return folder / "books.txt"


def test_books_are_continued(workplace: Workplace, model: Path) -> None:
    plan = write(workplace, extraction(model, "books", books(workplace.path)))
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    found = pd.read_parquet(folder.table("samples"))
    prompts = dict(zip(found["input_id"], found["prompt"], strict=True))
    assert prompts == {f"train_{n}": f" {text}. It ran." for n, text in enumerate(TEXTS)}
    assert len(found) == 2 * len(TEXTS)
    assert "3 queries; of its texts 1 lack the start or the end" in folder.log.read_text()


def test_all_tasks_are_checked_before_a_plan_runs(workplace: Workplace, model: Path) -> None:
    here = workplace.path
    articles = write_jsonl(here / "articles.jsonl", [{"article": "Oslo (CNN) -- Rain.\nIt fell."}])
    posts = write_jsonl(here / "posts.jsonl", [{"content": "so\n\n\n\nit ended"}])
    runs = [
        extraction(model, "books", books(here)),
        extraction(model, "cnndm_queries", articles, fix_unicode=False),
        extraction(model, "tldr_queries", posts, fix_unicode=False),
    ]
    outcome = workplace.run_plan(write(workplace, *runs), "--dry_run")
    assert (outcome.status, outcome.err) == (0, "")
    assert "3 runs" in outcome.out
    articles.write_text('{"article": "Rain without a line break"}\n')
    posts.write_text('{"body": "so it ended"}\n')
    outcome = workplace.run_plan(write(workplace, *runs))
    assert (outcome.status, workplace.folders()) == (2, [])
    assert "gives no queries for the split 'train': of its texts 1 lack the start" in outcome.err
    assert "posts.jsonl', line 1: has no column 'content'; its columns are body" in outcome.err


def test_a_tokenizer_of_an_earlier_stage_is_waited_for(workplace: Workplace) -> None:
    new = {
        "id": "new",
        "experiment": "grue_new_model",
        "experiment_name": "vocabulary",
        "random_seed": 0,
        "datapools": [{"id": "text", "args": {"path": str(books(workplace.path)), "size": 5}}],
        "vocab_size": 280,
        "architecture": {"n_layer": 1, "n_embd": 8, "n_head": 1},
        "max_length": 32,
    }
    run = extraction("@new.model", "books", workplace.path / "books.txt")
    run["alg.policy.init"] = "random"
    outcome = workplace.run_plan(write(workplace, new, run))
    assert (outcome.status, [f.read_status()["status"] for f in workplace.folders()]) == (
        0,
        ["done", "done"],
    )
