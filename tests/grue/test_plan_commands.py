"""The commands whose flags stand for a plan: it is printed, kept, and run."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerFast

import run_plan
from common.run.folder import PlanFolder
from common.runner.index import read_index
from grue import diagnose, extract, finetune
from grue.interop.prompt_folders import write_for_trl
from grue.tools import finetuning_flags, plan_of_flags, server_flags
from grue.tools.finetuning_flags import ALGORITHMS
from tests.grue.conftest import encoder_decoder, save_model
from tests.grue.tasks.conftest import write_jsonl
from tests.grue.test_diagnose_command import in_this_process
from tests.tools import imported

ROWS = [{"prompt": f"the cat {word}", "references": ["sat", "ran"]} for word in "abcdefghijkl"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "prompts.jsonl", ROWS)


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


@pytest.fixture
def given(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(plan_of_flags, "run", in_this_process)
    return ["--model", str(model), "--data", str(data), "--references_column", "references",
            "--max_new_tokens", "4", "--max_prompt_tokens", "8", "--batch_size", "2",
            "--out", str(tmp_path / "out")]  # fmt: skip


def test_extraction_leaves_a_plan_and_its_run(tmp_path: Path, given: list[str]) -> None:
    own = [*given, "--reward", "length", "--num_inputs", "3", "--num_samples", "2",
           "--sample_cache", ""]  # fmt: skip
    assert extract.main(own) == 0
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    assert "sample_cache" not in plan["configurations"][0]["base_config"]["evaluation"]
    (row,) = read_index(PlanFolder(tmp_path / "out/plan"))
    samples = pd.read_parquet(tmp_path / "out/plan" / row["folder"] / "samples.parquet")
    assert len(samples) == 6 and samples["reward"].notna().all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_plan_that_can_run(
    tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    own = [*given, "--reward", "length", "--algorithm", algorithm, "--lora", "2", "--kl", "0.1",
           "--learning_rate", "0.01", "--print_plan"]  # fmt: skip
    assert finetune.main(own) == 0
    assert not (tmp_path / "out").exists()
    plan = tmp_path / "printed.json"
    plan.write_text(capsys.readouterr().out)
    assert run_plan.main(["--plan_config_path", str(plan), "--dry_run"]) == 0
    assert algorithm in capsys.readouterr().out


@pytest.mark.parametrize("algorithm", ["supervised", "ppo", "grpo"])
def test_finetuning_trains_and_evaluates(tmp_path: Path, given: list[str], algorithm: str) -> None:
    own = ["--reward", "length", "--algorithm", algorithm, "--steps", "2", "--eval_every", "1"]
    assert finetune.main([*given, *own]) == 0
    (row,) = read_index(PlanFolder(tmp_path / "out/plan"))
    assert row["status"] == "done"
    summary = json.loads((tmp_path / "out/plan" / row["folder"] / "summary.json").read_text())
    assert "val/lexical/length" in json.dumps(summary)


def test_a_reward_of_ones_own_is_drawn_and_a_folder_with_one_split_is_split(
    tmp_path: Path, given: list[str]
) -> None:
    write_for_trl(ROWS, tmp_path / "keep")
    own = ["--data", str(tmp_path / "keep"), "--reward", "custom:tests.grue.parts:quiet_vowels",
           "--steps", "1"]  # fmt: skip
    assert finetune.main([*given, *own]) == 0
    assert (tmp_path / "out/plan/figures").is_dir()


def test_encoder_decoders_are_known_by_themselves(
    tmp_path: Path, given: list[str], tokenizer: PreTrainedTokenizerFast,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    encoder_decoder("t5", len(tokenizer)).save_pretrained(tmp_path / "t5")
    own = [*given, "--reward", "length", "--print_plan", "--model", str(tmp_path / "t5")]
    assert finetune.main(own) == 0
    base = json.loads(capsys.readouterr().out)["configurations"][0]["base_config"]
    assert base["alg"]["policy"]["id"] == "seq2seq_lm_actor_critic_policy"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (extract, [], "--model, --data, --reward: needed; '--help' shows examples"),
        (extract, ["--algorithm", "grpo"], "'--algorithm': unknown option"),
        (extract, ["--num_sample", "4"], "unknown option; did you mean '--num_samples'?"),
        (finetune, ["--model", "m", "--data", "d"], "--reward: needed"),
        (finetune, ["--model", "m", "--data", "d", "--algorithm", "supervised"],
         "--references_column: needed; 'supervised' learns the references"),
        (finetune, ["--algorithm", "gpro"], "invalid choice: 'gpro'"),
        (finetune, ["--steps", "0"], "argument --steps: '0': expected an integer of at least 1"),
        (finetune, ["--model", "no/such", "--data", "d", "--reward", "length"],
         "; give a folder in Hugging Face layout, or a hub id where there is a network"),
        (finetune, ["--model", "m", "--data", "d", "--reward", "{", "--model_type", "causal"],
         "--reward {: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command, arguments: list[str], message: str
) -> None:
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def served(data: Path, out: Path, *more: str) -> list[str]:
    return ["--model", "large", "--data", str(data), "--reward", "length", "--out", str(out),
            "--server", "http://localhost:8000/v1", *more]  # fmt: skip


@pytest.mark.parametrize("command", [extract, diagnose])
def test_a_server_takes_the_place_of_the_sampler(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], command: ModuleType
) -> None:
    own = ["--temperature", "0.5", "--concurrency", "64", "--extra_body",
           '{"top_k": -1, "form": "{x}"}', "--print_plan"]  # fmt: skip
    assert command.main(served(data, tmp_path / "out", *own)) == 0
    keys = json.loads(capsys.readouterr().out)["configurations"][0]["base_config"]
    assert "tokenizer" not in keys
    server = {"url": "http://localhost:8000/v1", "concurrency": 64,
              "extra_body": {"top_k": -1, "form": "{{x}}"}}  # fmt: skip
    generation = {"do_sample": True, "top_k": 0, "temperature": 0.5, "max_new_tokens": 64}
    assert keys["alg"] == {
        "server": server, "model_name": "large", "generation_kwargs": generation,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dtype", "bfloat16", "--gradients"], "--dtype, --gradients: a server has the model"),
        (["--extra_body", "{"], "argument --extra_body: '{': "),
        (["--extra_body", "[1]"], "argument --extra_body: '[1]': "),
    ],
)
def test_flags_of_the_other_sampler_are_refused(
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert extract.main(served(data, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    no_server = served(data, tmp_path / "out", "--concurrency", "4")
    del no_server[8:10]
    assert extract.main(no_server) == 2
    assert "--concurrency: needs --server" in capsys.readouterr().err


def test_flags_of_an_own_model_have_the_defaults_that_a_server_leaves(data: Path) -> None:
    args = diagnose._parser().parse_args(served(data, Path("out")))
    assert {name: getattr(args, name) for name in server_flags.OF_OWN_MODEL} == (
        server_flags.OF_OWN_MODEL
    )


@pytest.mark.parametrize(
    ("command", "further", "key", "flag"),
    [
        (extract, ["--prompt_column", "no"], "datapool.args.prompt_column", "--prompt_column"),
        (extract, ["--reward", "lenght"], "reward_fn", "--reward"),
        (finetune, ["--algorithm", "grpo", "--prompt_column", "no"], "datapool.args.path",
         "--data"),
    ],
)  # fmt: skip
def test_keys_of_a_refused_plan_are_told_as_flags(
    given: list[str], capsys: pytest.CaptureFixture[str],
    command: ModuleType, further: list[str], key: str, flag: str,
) -> None:  # fmt: skip
    assert command.main([*given, "--reward", "length", *further]) == 2
    told = capsys.readouterr().err
    assert f"'{key}" in told.splitlines()[1]
    assert f"'{key}' is {flag}" in told.splitlines()[-1]


@pytest.mark.parametrize("name", finetuning_flags.TRL)
def test_a_flag_of_trl_is_told_what_it_is_here(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    fields = {*imported("trl").GRPOConfig.__dataclass_fields__, "reward_funcs"}
    assert name.removeprefix("--") in fields
    flag = finetuning_flags.TRL[name]
    assert finetune.main([name, "1"]) == 2
    assert f"'{name}': unknown option; here it is called '{flag}'" in capsys.readouterr().err
    assert finetune.main([flag, "x"]) == 2
    assert "unknown option" not in capsys.readouterr().err
