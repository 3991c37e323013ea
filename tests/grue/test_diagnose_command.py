"""The command that diagnoses a reward for a model."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

import run_plan
from common.config.resolve import resolve
from grue import diagnose
from grue.tasks.config import DatapoolConfig
from grue.tools import plan_of_flags
from grue.tools.diagnosis_files import source_of
from plots import __main__ as plots
from tests.grue.conftest import save_model
from tests.grue.tasks.conftest import write_jsonl

PROMPTS = [
    {"prompt": f"the cat {word}", "references": ["sat"], "note": word} for word in "abcdefgh"
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def in_this_process(command: list[str]) -> int:
    """Run the program here, which spares its start; what it has found to import is forgotten."""
    path = sys.path[:]
    try:
        return run_plan.main(command[1:])
    finally:
        sys.path[:] = path
        sys.modules.pop("rewards_beside", None)


@pytest.mark.slow
def test_it_samples_and_tells(
    tmp_path: Path, model: Path, data: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"

    def given(reward: str) -> list[str]:
        return ["--model", str(model), "--data", str(data), "--reward", reward, "--num_inputs", "6",
                "--num_samples", "4", "--max_new_tokens", "5", "--references_column", "references",
                "--gradients", "--sample_cache", str(tmp_path / "cache"),
                "--out", str(out)]  # fmt: skip

    assert diagnose.main(given("length")) == 0
    printed = capfd.readouterr().out
    plan = json.loads((out / "plan.json").read_text())
    assert f"--plan_config_path {out}/plan.json" in printed
    assert plan["configurations"][0]["base_config"]["reward_fn"] == {"id": "length"}
    found = json.loads((out / "diagnosis.json").read_text())
    assert len(found["sentences"]) == 6 and found["sentences"][0] in printed
    assert found["sentences"][5].startswith("The squared norm of the expected gradient is ")
    assert found["rewards"]["metrics"]["reward"]["num_samples_per_input"] == 4
    inputs = pd.read_parquet(out / "inputs.parquet")
    assert len(inputs) == 6 and inputs["prompt"].str.startswith("the cat").all()
    assert ((inputs["grad_squared_norm_se"] > 0) == (inputs["std"] > 0)).all()
    assert (out / "plan/figures/expected_gradients.png").exists()
    kept = lines(out / "keep.jsonl")
    assert len(kept) == inputs["keep"].sum() == (inputs["std"] > 0).sum()
    assert {*kept[0]} == {"prompt", "references", "note"}
    assert len(lines(out / "control.jsonl")) == len(kept)

    def attempts() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (out / "plan").glob("*/status.json")}

    before = attempts()
    page = (out / "report.html").read_text()
    assert found["sentences"][0] in page and page.count("the cat") > 6
    assert 'href="plan/figures/expected_gradients.png"' in page
    assert re.search(r"<th[^>]*>command</th>\s*<td>.*run_plan.py --plan_config_path", page)
    monkeypatch.setattr(plan_of_flags, "write_report", lambda folder: 0)  # once is enough
    monkeypatch.setattr(plan_of_flags, "run", in_this_process)
    assert diagnose.main(given("length")) == 0
    assert attempts() == before  # nothing is made again

    of_words = "def words(prompts, outputs, references, metadata): return [*map(len, outputs)]"
    (out / "rewards_beside.py").write_text(of_words)
    parts = [{"id": "chrf"}, {"id": "custom:rewards_beside:words", "weight": 0.0}]
    assert diagnose.main(given(json.dumps({"id": "weighted_sum", "args": {"rewards": parts}}))) == 0
    assert "Of the reward's parts 'chrf' alone deviates within inputs." in capfd.readouterr().out
    (other,) = attempts().keys() - before.keys()
    assert "outputs of 6 inputs are from the sample cache" in other.with_name("log.txt").read_text()
    of_other = pd.read_parquet(out / "inputs.parquet")
    assert not of_other["mean"].equals(inputs["mean"])
    assert diagnose.main(given("length")) == 0  # of the runs in the folder, the one that is meant
    pd.testing.assert_frame_equal(pd.read_parquet(out / "inputs.parquet"), inputs)


def test_what_trainers_leave_needs_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"input": prompt, "output": f"o{k}", "score": score, "style": k / 10, "step": 1}
        for prompt, scores in [("a", [0, 0]), ("b", [0, 1]), ("c", [1, 1])]
        for k, score in enumerate(scores)
    ]
    path = write_jsonl(tmp_path / "1.jsonl", rows)
    out = tmp_path / "out"
    assert diagnose.main(["--from", "verl", str(path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 3 inputs are silent" in printed
    assert [row["prompt"] for row in lines(out / "keep.jsonl")] == ["b"]
    assert [row["prompt"] for row in lines(out / "warm_up_with_sft.jsonl")] == ["a"]
    assert [row["prompt"] for row in lines(out / "solved.jsonl")] == ["c"]
    inputs = pd.read_parquet(out / "inputs.parquet")
    assert inputs["cause"].tolist() == ["lowest", "", "largest"]
    assert (out / "samples.parquet").exists()
    figures = tmp_path / "figures"
    assert plots.main(["reward_mean_std", "--runs", str(out), "--output", str(figures)]) == 0
    drawn = pd.read_csv(figures / "reward_mean_std.csv")
    assert drawn["mean"].tolist() == [0, 0.5, 1]

    assert diagnose.main(["--from", "verl", str(path), "--rewards", "score", "style", "--out",
                          str(out)]) == 0  # fmt: skip
    assert "0 of 3 inputs are silent" in capsys.readouterr().out
    assert lines(out / "solved.jsonl") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model, --data, --reward: needed, or --from with files"),
        (["--model", "m", "--reward", "length"], "--data: needed"),
        (["--from", "trl"], "--from trl: name its files"),
        (["--from", "trl", "x", "--reward", "length"], "--reward: the files of --from have"),
        (["--from", "trl", "x", "--gradients", "--num_samples", "8"],
         "--num_samples, --gradients: the files of --from have"),
        (["--model", "m", "--data", "d", "--reward", "length", "--rewards", "score"],
         "--rewards: is for --from"),
        (["--from", "other"], "argument --from: invalid choice"),
        (["--num_samples", "1"], "expected an integer of at least 2"),
        (["--model", "m", "--data", "no/such/file.jsonl", "--reward", "length"],
         "--data no/such/file.jsonl: there is no such file"),
        (["--model", "m", "--data", "d", "--reward", "length", "x"], "files are for --from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert diagnose.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_input_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [{"prompt": "a", "output": str(n), "reward": float(n % 2)} for n in range(4)]
    path, out = write_jsonl(tmp_path / "samples.jsonl", outputs), tmp_path / "out"
    given = ["--from", "jsonl", str(path), "--rewards", "reward", "--out", str(out)]
    assert diagnose.main(given) == 2
    assert "there is one input alone" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("datapool", "name"),
    [
        ({"id": "hub_dataset", "args": {"dataset": "openai/gsm8k"}}, "openai/gsm8k"),
        ({"id": "arithmetic"}, "arithmetic"),
    ],
)
def test_lists_for_verl_name_the_data_set_by_which_it_chooses_its_reward(datapool, name) -> None:
    config, problems = resolve(DatapoolConfig, datapool)
    assert config is not None, problems
    assert source_of(config) == name
