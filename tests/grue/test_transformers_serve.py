"""Extraction and diagnosis of a model that ``transformers serve`` has."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

from grue import diagnose
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS, OVERLAP
from tests.grue.tasks.conftest import write_jsonl
from tests.tools import imported

for package in ("openai", "fastapi", "uvicorn"):
    imported(package)
pytestmark = pytest.mark.slow

K, N = 4, 12
MANY = 40
"""Inputs of a run that is to be killed before it has asked for all."""
DRAWN = {"generation_config": json.dumps({"do_sample": True, "top_k": 0})}
_TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = save_model(tmp_path_factory.mktemp("served") / "model", tokenizer)
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """The address of a server with the model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = (model.parent / "serve.log").open("w")
    with log, subprocess.Popen([*program, *where], stdout=log, stderr=log) as server:
        found = f"http://127.0.0.1:{port}/v1"
        try:
            _await(found, server)
            yield found
        finally:
            server.terminate()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "it has ended"
        try:
            urllib.request.urlopen(f"{url}/models").close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("it does not start")


def extraction(url: str, model: Path, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "experiment": "grue_extract",
        "experiment_name": "samples",
        "random_seed": 5,
        "datapool.id": ANIMALS,
        "datapool.num_train_samples": N,
        "alg.server": {"url": url, "concurrency": 4, "extra_body": DRAWN},
        "alg.model_name": str(model),
        "alg.generation_kwargs": {"do_sample": True, "top_k": 0, "max_new_tokens": 6},
        "evaluation.eval_batch_size": N,
        "evaluation.num_samples_per_input": K,
        "evaluation.metrics": [{"id": OVERLAP}],
    }
    return base | changes


def test_a_killed_run_goes_on(workplace: Workplace, url: str, model: Path) -> None:
    doubled = {
        "generation_config": DRAWN["generation_config"].replace("{", "{{").replace("}", "}}")
    }
    server = {"url": url, "concurrency": 1, "extra_body": doubled}
    changes = {"alg.server": server, "datapool.num_train_samples": MANY}
    plan = write(workplace, extraction(url, model, **changes))
    process = workplace.start(plan)
    kept: list[dict[str, Any]] = []
    while len(kept) < 3 and process.poll() is None:
        time.sleep(0.05)
        kept = [
            json.loads(line)
            for path in workplace.path.glob("outputs/exps/plan/*/drawn/*.jsonl")
            for line in path.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]
    process.kill()
    _, error = process.communicate()
    assert 3 <= len(kept) < MANY * K, error
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    (folder,) = workplace.folders()
    samples = pd.read_parquet(folder.table("samples"))
    assert len(samples) == MANY * K and samples["num_tokens"].between(1, 6).all()
    assert samples.groupby("index")["output"].nunique().median() == K
    texts = samples["output"].tolist()
    assert all(row["outputs"][0][0] in texts for row in kept)


@pytest.mark.parametrize("chat", [False, True])
def test_a_reward_is_diagnosed(
    tmp_path: Path, url: str, model: Path, chat: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", [{"prompt": "the cat"}, {"prompt": "a dog"}])
    given = ["--server", url, "--model", str(model), "--data", str(data), "--reward", "length",
             "--num_samples", "4", "--max_new_tokens", "8", "--extra_body", json.dumps(DRAWN),
             "--out", str(tmp_path / "out"), *["--chat_template"] * chat]  # fmt: skip
    assert diagnose.main(given) == 0
    assert "of 2 inputs are silent" in capfd.readouterr().out
