"""The command that prints samples of a trained policy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from grue.tools import sample
from grue.tools.trained_policy import load_trained_policy
from tests.conftest import PROJECT, Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


@pytest.fixture
def run(workplace: Workplace, model: Path) -> Path:
    """The folder of a finished run, whose policy reads a prefix."""
    prefix = {"alg__policy__args__query_prefix": "the "}
    plan = write(workplace, reinforcement(model, train_evaluation__n_iters=1, **prefix))
    assert workplace.run_plan(plan).status == 0
    return workplace.folders()[0].path


def printed(capsys: pytest.CaptureFixture[str], *arguments: Any) -> list[tuple[str, str]]:
    """Queries and outputs, of a command that succeeds."""
    capsys.readouterr()
    assert sample.main([str(argument) for argument in arguments]) == 0
    lines = capsys.readouterr().out.split(sample.LINE + "\n")
    assert lines.pop(0) == ""
    return [tuple(it.removesuffix("\n").split("\n", 1)) for it in lines]  # type: ignore[misc]


def test_queries_of_the_runs_test_split_with_outputs(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = printed(capsys, "--model", run, "--num_samples", 6)
    animals = {"cat", "very dog", "very very cow", "very very very hen"}  # the four of the split
    assert {query for query, _ in found[:4]} == animals
    assert {query for query, _ in found[4:]} <= animals
    assert found == printed(capsys, "--model", run, "--num_samples", 6, "--batch_size", 1)
    assert found != printed(capsys, "--model", run, "--num_samples", 6, "--seed", 1)
    assert load_trained_policy(str(run)).policy.prefix == "the "
    most_probable = ["--model", run, "--temperature", 0, "--num_samples", 8, "--batch_size", 8]
    by_query = printed(capsys, *most_probable)
    assert len(set(by_query)) == 4


def test_a_model_folder_needs_a_text_or_a_task(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", model, "--max_new_tokens", 5, "--num_samples", 3]
    texts = printed(capsys, *options, "--text", "the cat", "--text", "a dog")
    assert [query for query, _ in texts] == ["the cat", "a dog", "the cat"]
    task = json.dumps({"id": ANIMALS})
    assert printed(capsys, *options, "--split", "val", "--datapool", task)[0][0].startswith(
        ("very", "cat", "dog", "cow")
    )


def test_a_plan_tells_how_a_model_is_used(
    workplace: Workplace, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    around = {"alg__policy__args__query_prefix": "the "}
    plan = write(workplace, reinforcement(model, **around))
    found = printed(capsys, "--model", model, "--plan", plan, "--num_samples", 5)
    assert {"cat", "very dog"} < {query for query, _ in found}
    assert load_trained_policy(str(model), plan).policy.prefix == "the "
    other = workplace.write_plan("other", configurations=[])
    assert sample.main(["--model", str(model), "--plan", str(other)]) == 2
    assert "configurations" in capsys.readouterr().err
    keys = reinforcement(model)
    kept = {key: keys[key] for key in keys if key.startswith(("tokenizer", "datapool"))}
    kept |= {"experiment": "grue_extract", "alg.model_type": "causal", "random_seed": 0,
             "alg.model_name": str(model),
             "alg.generation_kwargs": {"do_sample": True, "max_new_tokens": 4},
             "evaluation": {"eval_batch_size": 4, "metrics": [{"id": "length"}]}}  # fmt: skip
    extraction = write(workplace, kept)
    assert sample.main(["--model", str(model), "--plan", str(extraction)]) == 2
    assert "has no run of the experiment 'grue_finetune'" in capsys.readouterr().err


def test_line_breaks_of_outputs_are_shown(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_lines(_: Any) -> Iterator[tuple[str, str]]:
        yield "a\nb", "c\nd"

    monkeypatch.setattr(sample, "_samples", two_lines)
    assert sample.main(["--model", str(model)]) == 0
    assert capsys.readouterr().out == "=" * 80 + "\na\nb\nc\u23ced\n"


@pytest.mark.slow
def test_without_a_number_samples_go_on_until_nobody_reads(model: Path) -> None:
    command = [sys.executable, "-m", "grue.tools.sample", "--model", str(model), "--text", "cat",
               "--num_samples", "0", "--max_new_tokens", "3"]  # fmt: skip
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(40)]
    process.stdout.close()
    assert lines[0] == "=" * 80 + "\n"
    assert process.wait(timeout=60) == 0


WRONG: list[tuple[list[str], str]] = [
    ([], "--model.*; 'python -m grue.tools.sample --help' lists"),
    (["--model", "/nowhere", "--text", "x"], r"'--model' = '/nowhere': cannot be loaded"),
    (["--model", "MODEL", "--temperature", "-1"], "'-1': expected a number of at least 0"),
    (["--model", "MODEL", "--temperature", "nan"], "'nan': expected a number of at least 0"),
    (["--model", "MODEL", "--batch_size", "0"], "'0': expected an integer of at least 1"),
    (["--model", "MODEL", "--num_samples", "1.5"], r"'1\.5': expected an integer of at least 0"),
    (["--model", "MODEL", "--text", "x"], "--max_new_tokens: needed for a model folder"),
    (["--model", "MODEL", "--plan", "no.json"], "^error: --plan no.json: no such file$"),
    (["--model", "MODEL", "--max_new_tokens", "3"], "--text, --datapool or --plan: needed"),
    (["--model", "MODEL", "--max_new_tokens", "3", "--datapool", '{"id": "imbd"}'],
     "--datapool: 'id' = 'imbd': unknown task; did you mean 'imdb'"),
    (["--model", "MODEL", "--max_new_tokens", "3", "--datapool", "{"], "--datapool: .*; give an"),
    (["--model", "MODEL", "--max_new_tokens", "99", "--text", "x"], "'max_new_tokens' = 99: "),
    (["--model", "MODEL", "--text", "x", "--datapool", "{}"], "not allowed with"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_bad_input_gets_one_message(
    model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [str(model) if argument == "MODEL" else argument for argument in arguments]
    assert sample.main(given) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(message, error), error


def test_a_gpu_that_is_absent_is_told(
    model: Path, two_gpus: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    given = ["--model", str(model), "--text", "a", "--max_new_tokens", "1", "--num_samples", "1"]
    assert sample.main([*given, "--gpu_id", "2"]) == 2
    told = "--gpu_id 2: this machine has GPUs 0 to 1; choose among them"
    assert told in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert sample.main([*given, "--gpu_id", "0"]) == 0
    assert "--gpu_id 0: CUDA_VISIBLE_DEVICES = '' shows none: the CPU computes" in caplog.text


def test_runs_that_left_no_policy_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "model" / "reward_model.json").write_text("{}")
    assert sample.main(["--model", str(run)]) == 2
    assert "is a reward model, which writes nothing" in capsys.readouterr().err
    (run / "model").rename(run / "elsewhere")
    assert sample.main(["--model", str(run)]) == 2
    assert "the run (done) has no folder 'model'" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sample.main(["--help"])
    assert "python -m grue.tools.sample --model outputs" in capsys.readouterr().out
