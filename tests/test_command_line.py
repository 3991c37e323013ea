"""Bad input gets one clear message and exit status 2, and nothing is written."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

import run_plan
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from common.plan.schema import plan_schema
from common.runner.cli_overrides import overrides_of
from common.runner.command_line import build_parser, parse_arguments
from tests.common.plans import whole_base
from tests.conftest import PROJECT, TINY_DIGITS, TOY, Workplace
from tests.grue.metrics.parts import needs_wordnet

PLANS = sorted(path for path in (PROJECT / "experiment_plans").rglob("*/*.json")
               if path.parent.name != "settings")  # fmt: skip
SCHEMA = PROJECT / "experiment_plans/plan.schema.json"


def refused(workplace: Workplace, *arguments: Any, **document: Any) -> str:
    before = set(workplace.files())
    outcome = workplace.run_plan(workplace.write_plan(**document), *arguments)
    assert outcome.status == 2
    assert set(workplace.files()) == before
    assert "Traceback" not in outcome.err
    return outcome.err


def digits(**changes: Any) -> list[dict[str, Any]]:
    return [{"base_config": {**TINY_DIGITS, **changes}}]


def test_a_misspelt_key(workplace: Workplace) -> None:
    assert refused(workplace, configurations=digits(lrr=1)) == (
        "error: plan.json, configurations[0]:\n  'lrr' = 1: unknown key; did you mean 'lr'?\n"
    )


def test_a_missing_plan(workplace: Workplace) -> None:
    outcome = workplace.run("--plan_config_path", "none.json")
    assert (outcome.status, outcome.err) == (
        2, "error: none.json: no such file; give a plan with --plan_config_path\n",
    )  # fmt: skip
    assert "no plan given" in workplace.run().err


def test_a_missing_checkpoint(workplace: Workplace) -> None:
    message = refused(workplace, configurations=digits(load_model_from_checkpoint="gone.pt"))
    assert "'load_model_from_checkpoint' = 'gone.pt': no such file or folder" in message


def test_a_checkpoint_whose_shapes_do_not_fit(workplace: Workplace) -> None:
    torch.save({"1.weight": torch.zeros(3, 64), "x": torch.zeros(1)}, workplace.path / "w.pt")
    message = refused(workplace, configurations=digits(load_model_from_checkpoint="w.pt"))
    for part in (
        "'1.weight' has shape [3, 64], the model's has [8, 64]",
        "'1.bias' is missing",
        "'x' is not in the model",
    ):
        assert part in message


def test_a_pickle_that_is_not_plain_weights(workplace: Workplace) -> None:
    torch.save({"model": Path("x")}, workplace.path / "w.pt")
    message = refused(workplace, configurations=digits(load_model_from_checkpoint="w.pt"))
    assert "not plain weights: loading it could run code, so it is refused" in message


def test_a_file_that_is_no_checkpoint(workplace: Workplace) -> None:
    (workplace.path / "w.pt").write_bytes(b"PK\x03\x04 half")
    message = refused(workplace, configurations=digits(load_model_from_checkpoint="w.pt"))
    assert "not a whole checkpoint" in message


def test_a_data_file_without_the_needed_arrays(workplace: Workplace) -> None:
    np.savez(workplace.path / "own.npz", x_train=np.zeros((2, 2)))
    message = refused(workplace, configurations=digits(dataset="npz", data_path="own.npz"))
    assert "'data_path' = 'own.npz': lacks the arrays y_train, x_test, y_test" in message


def test_a_file_is_checked_once_and_named_for_each_configuration(workplace: Workplace) -> None:
    configurations = [*digits(dataset="npz", data_path="gone.npz"), *digits(lr="1")]
    message = refused(workplace, configurations=configurations)
    assert "configurations[1]" in message
    assert "'lr' = '1'" in message


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epoch=3", "plan.json, --set:\n  'epoch' = 3: unknown key; did you mean 'epochs'?"),
        ("sedes=[1]", "plan.json, --set:\n  'sedes' = [1]: unknown key; did you mean 'seeds'?"),
        ("zzz=1", "plan.json, --set:\n  'zzz' = 1: unknown key; no configuration knows it"),
        ("seeds.x=1", "plan.json, --set:\n  'seeds.x' = 1: 'seeds' is a key of the plan; give it "
         "whole, as in --set seeds=..., or beside 'configurations'"),
        ("base_config.lr=1", "plan.json, --set:\n  'base_config.lr' = 1: unknown key; without "
         "'base_config.' it is set for every configuration that knows it, as in --set lr=..."),
        ("executor.partition=x", "'executor.id': this key is required"),
        ("resources.cpu=3", "'resources.cpu' = 3: unknown key; did you mean 'cpus'?"),
        ("epochs", "--set epochs: expected key=value, for example --set epochs=10"),
        ("epochs=many", "'epochs' = 'many': expected a whole number"),
        ("num_parallel=0", "plan.json, --set:\n  'num_parallel' = 0: must be greater than 0"),
        ('figures=["x"]', "plan.json, --set:\n  'figures' = 'x': unknown figure"),
        ("name=" + 5000 * "[", "--set name: more than 100 levels of objects and lists"),
        ('epochs={"a": 1, "a": 2}', "--set epochs: 'a' is repeated"),
    ],
)  # fmt: skip
def test_overrides_that_do_not_fit(workplace: Workplace, assignment: str, message: str) -> None:
    assert message in refused(workplace, "--set", assignment, configurations=digits())


@pytest.mark.parametrize(
    "words", [["--executor", "slurm"], ["executor=slurm"], ['executor={"id": "slurm"}']]
)
@pytest.mark.parametrize("in_plan", ["local", {"id": "ray", "address": "a"}])
def test_keys_inside_of_an_executor_are_overridden_one_by_one(
    workplace: Workplace, words: list[str], in_plan: Any
) -> None:
    plan = workplace.write_plan(
        configurations=digits(), executor=in_plan, resources={"memory_gb": 4}
    )
    args = parse_arguments([*words, "executor.partition=gpu", "resources.cpus=2"])
    effective = load_plan(plan, EXPERIMENTS, overrides=overrides_of(args)).effective
    assert effective["executor"] == {"id": "slurm", "partition": "gpu"}
    assert effective["resources"] == {"memory_gb": 4, "cpus": 2}


def test_a_bare_assignment_is_an_override_and_the_value_of_a_flag_is_not(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(configurations=[{"id": "one", **digits()[0]}])
    told = workplace.run_plan(plan, "--dry_run", "--gpu_ids", "experiment_name=n", "one.lr=0.5")
    assert (told.status, told.err) == (0, "")
    assert "\nn     " in told.out
    assert "fits no run" in workplace.run_plan(plan, "--dry_run", "--only", "lr=0.5").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["plan.json"],
            "error: plan.json: a plan needs its flag; write --plan_config_path",
        ),
        (["--seed", "3"], "error: --seed: write --set seeds=[3]\n"),
        (["--plan", "p"], "error: --plan: unknown flag; did you mean '--plan_config_path'?\n"),
        (["lr=.5"], "'lr' = '.5': expected a number; write 0.5\n"),
        (["lr=1", "--set", "lr=2"], "error: --set lr: given twice; keep one of them\n"),
        (
            ["outputs_dir=a", "--outputs_dir", "b"],
            "error: --set outputs_dir: --outputs_dir sets it",
        ),
        (["lr=1", "model_type=\udcff"], "error: the command line: 'model_type' holds half of a "),
        (['model_type="\\ud800"'], "error: --set model_type: holds half of a character"),
        (["--outputs_dir", "\udcff"], "error: the command line: 'outputs_dir' holds half of a "),
    ],
)
def test_words_behind_the_flags_that_do_not_fit(
    workplace: Workplace, words: list[str], message: str
) -> None:
    assert message in refused(workplace, *words, configurations=digits())


@pytest.mark.parametrize("number", ["0", "x", "1.5", 5000 * "9"])
def test_a_number_that_does_not_fit(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_plan.main(["--num_parallel", number]) == 2
    assert capsys.readouterr().err == (
        f"error: argument --num_parallel: '{number}' is not a whole number from 1 on; "
        "'run_plan.py --help' lists what can be given\n"
    )


def test_an_unknown_figure(workplace: Workplace) -> None:
    message = refused(workplace, configurations=digits(), figures=["controled_curves"])
    assert "did you mean 'controlled_curves'?" in message


def test_a_penalty_without_effect_is_said(workplace: Workplace) -> None:
    sampled = digits(opt_method="reinforce", kl_regularization_coeff=0.1, epochs=1)
    err = workplace.run_plan(workplace.write_plan(configurations=sampled)).err
    assert err.count("the penalty's gradient is zero in expectation") == 1


def test_the_ignored_published_key_is_said_once(workplace: Workplace) -> None:
    base = {**TINY_DIGITS, "change_label_per_class": True}
    plan = workplace.write_plan(configurations=[{"base_config": base, "options": {"lr": [1, 2]}}])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert outcome.err.count("change_label_per_class") == 1


def test_a_published_plan_runs_as_it_is(workplace: Workplace) -> None:
    """Keys in both base_config and options, sentinels, an unused key, a list in a template."""
    base = {
        **TINY_DIGITS, "experiment_name": "{dataset}_{model_type}_{mlp_hidden_layer_sizes}_lr_{lr}",
        "model_type": "mlp", "lr": 0.1, "trainer_checkpoint": "", "wandb_resume_id": "",
        "wandb_exclude_files": "", "wandb_track_model": "", "gpu_ids": [], "random_seed": -1,
        "score_metric_name": "train loss", "is_train_metric": True, "score_largest": False,
        "load_model_from_checkpoint": "",
    }  # fmt: skip
    plan = workplace.write_plan(
        name="published", description="", skip=0, repetitions=1, largest=False, multiprocess=False,
        num_parallel=1, gpu_ids_pool=[],
        configurations=[{"base_config": base, "options": {"lr": [0.01, 0.02]}}],
    )  # fmt: skip
    assert workplace.run_plan(plan).status == 0
    names = [folder.path.name.rpartition("-")[0] for folder in workplace.folders("published")]
    assert names == ["digits_mlp_8_lr_0-01", "digits_mlp_8_lr_0-02"]


def test_a_failed_figure_is_told(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{"base_config": {"epochs": 1}}],
        figures=["controlled_curves"],
    )  # fmt: skip
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    assert "figure controlled_curves:" in outcome.err


@functools.cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(plan_schema(EXPERIMENTS))


@pytest.mark.parametrize("plan", PLANS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_plan_is_read_and_fits_the_schema(
    plan: Path, workplace: Workplace, nothing_missing: None
) -> None:
    document = json.loads(plan.read_text())
    validator().validate(document)
    if "$DATA_DIR" in plan.read_text():
        data_folder()
    (workplace.path / "experiment_plans").symlink_to(PROJECT / "experiment_plans")
    outcome = workplace.run_plan(plan, "--dry_run")
    if "ADD PATH TO CHECKPOINT" in plan.read_text():
        assert "put the path of the pretraining run's checkpoints/last.pt here" in outcome.err
        outcome = workplace.run_plan(plan, "--dry_run", "--set", "load_model_from_checkpoint=")
    if re.search(r'model_name": "_"', plan.read_text()):
        assert "is a placeholder; name the model" in outcome.err
        outcome = workplace.run_plan(plan, "--dry_run", "--set", "alg.policy.args.model_name=m")
    assert outcome.status == 0, outcome.err
    assert re.search(r"\d+ runs in ", outcome.out)


def test_a_plan_says_once_what_its_configurations_share() -> None:
    lengths = {str(plan): len(plan.read_text().splitlines()) for plan in PLANS}
    assert {plan: length for plan, length in lengths.items() if length > 150} == {}


def own_data(plan: Path, workplace: Workplace) -> list[str]:
    """What points a plan at the real data packs, or some of their rows, where it needs any."""
    if plan.stem == "digits":
        return []
    folder = Path(data_folder())
    if plan.stem == "bert_stsb":
        for part in ("train", "validation"):
            lines = (folder / f"stsb/{part}.jsonl").read_text().splitlines(keepends=True)
            (workplace.path / f"{part}.jsonl").write_text("".join(lines[:300:3]))
        return ["--set", "data_path=.", "--set", f"model_type=bert:{folder}/bert-mini"]
    return ["--set", f"data_dir={folder}"]


def data_folder() -> str:
    folder = os.environ.get("DATA_DIR")
    if not folder:
        pytest.skip("needs real data: set DATA_DIR to the folder that holds it")
    return folder


def few_rows(folder: Path, workplace: Workplace) -> Path:
    """A copy of the packs that plans name, with the first rows of each file."""
    for file in [*folder.glob("common_gen/*.jsonl"), *folder.glob("imdb/*.jsonl")]:
        copy = workplace.path / "data" / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("".join(file.read_text().splitlines(keepends=True)[:60]))
    return workplace.path / "data"


def with_few_texts(plan: Path, workplace: Workplace) -> Path:
    """A copy of a plan of text runs with few samples, few steps, and one run per configuration."""
    document = json.loads(plan.read_text()) | {"multiprocess": False}
    if "seeds" in document:
        document["seeds"] = [0]
    for configuration in document["configurations"]:
        if "seeds" in configuration:
            configuration["seeds"] = [0]
        for key, values in configuration.get("options", {}).items():
            configuration["options"][key] = values[-1:]
    holders = (document, *document["configurations"])
    for holder in holders:
        holder["base_config"] = whole_base(holder.get("base_config", {}), plan.parent)
    trainers = [holder["base_config"].get("alg", {}).get("training_args", {}) for holder in holders]
    steps = sorted({arguments["max_steps"] for arguments in trainers if "max_steps" in arguments})
    for holder, arguments in zip(holders, trainers, strict=True):
        keys = holder["base_config"]
        for pool in [*keys.get("datapools", []), keys.get("datapool", {})]:
            if "num_samples" in pool.get("args", {}):
                pool["args"]["num_samples"] = 50
        if arguments:  # what differs in its steps alone still differs
            own = steps.index(arguments["max_steps"]) if "max_steps" in arguments else 0
            arguments.update(max_steps=2 + own, logging_steps=1, per_device_train_batch_size=8)
        if "n_iters" in keys.get("train_evaluation", {}):
            keys["train_evaluation"] |= {"n_iters": 2, "eval_every": 1}
    copy = workplace.path / plan.name
    copy.write_text(json.dumps(document))
    return copy


QUICK = ("dates", "digits", "text")
"""Quickstart plans of each kind that take some seconds."""


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.stem not in QUICK))
        for path in sorted((PROJECT / "experiment_plans/quickstart").glob("*.json"))
    ],
)
def test_every_quickstart_plan_runs_shrunk(
    plan: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    if '"meteor' in plan.read_text():
        needs_wordnet()
    if re.search('"experiment": "(grue_|reward_model)', plan.read_text()):
        if "$DATA_DIR" in plan.read_text():
            monkeypatch.setenv("DATA_DIR", str(few_rows(Path(data_folder()), workplace)))
        outcome = workplace.run_plan(with_few_texts(plan, workplace))
    elif '"experiment": "log_linear"' in plan.read_text():
        outcome = workplace.run_plan(
            plan, "--set", "epochs=20", "--set", "starts.epochs=30", "--set", "seeds=[0]",
            "--set", "multiprocess=false",
        )  # fmt: skip
    else:
        outcome = workplace.run_plan(
            plan, "--set", "epochs=2", "--set", "seeds=[0]", "--set", "num_train_samples=60",
            "--set", "multiprocess=false", *own_data(plan, workplace),
        )  # fmt: skip
    assert outcome.status == 0, outcome.err
    figures = [Path(line) for line in outcome.out.splitlines() if line.startswith("outputs/")]
    assert figures
    assert all(path.stat().st_size > 0 for path in figures)


def test_the_schema_is_written_to_the_project_or_to_a_folder_that_exists(
    workplace: Workplace,
) -> None:
    outcome = workplace.run("--write_schema", "none/plan.schema.json")
    assert (outcome.status, workplace.files()) == (2, [])
    assert "--write_schema none/plan.schema.json: no such folder" in outcome.err
    assert build_parser().parse_args(["--write_schema"]).write_schema == SCHEMA
    assert workplace.run("--write_schema", "own.json").status == 0
    assert (workplace.path / "own.json").read_text() == SCHEMA.read_text()


def test_help_explains_each_flag_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_plan.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    flags = [action.option_strings[-1] for action in build_parser()._actions]
    for flag in flags:
        assert flag == "--help" or f"Example: {flag}" in text, flag
