"""Blocks of code and commands of README and documentation run, shrunk where they are long."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.new_model.tokenizer import byte_pairs
from grue.policies.token_offsets import token_offsets
from grue.rewards.config import RewardConfig
from grue.texts import OutputTokens, Texts
from grue.tools import sample
from plots import __main__ as plots_program
from plots import check_options
from tests.conftest import PROJECT, Workplace
from tests.docs.pages import PAGES, page
from tests.docs.pages import README as README_PAGE
from tests.tools import imported

FROM_A_NETWORK = ("python3 -m venv", ".venv/bin/pip install")
"""Commands that make an environment, which continuous integration does by make."""

README_PLANS = {
    "controlled": ["epochs=2", "num_parallel=1", "multiprocess=false"],
    "text": ["train_evaluation.n_iters=1", "env.n_envs=8", "datapool.args.n_samples=4"],
}


def commands() -> list[Any]:
    """Every line of every block of shell, by page."""
    found = []
    for each in PAGES:
        lines = [line for block in each.blocks("sh") for line in block.splitlines()]
        found += [pytest.param(line, id=f"{each.name}: {line}") for line in dict.fromkeys(lines)]
    return found


@pytest.mark.parametrize("line", [command for command in commands() if command.values[0]])
def test_commands_are_taken(
    line: str, workplace: Workplace, monkeypatch: pytest.MonkeyPatch, nothing_missing: None
) -> None:
    monkeypatch.setenv("DATA_DIR", str(workplace.path))
    for data in ("common_gen", "imdb"):
        (workplace.path / data).mkdir()
    words = _started(shlex.split(line, comments=True))
    asked: list[Any]
    match words:
        case ["tmux", "attach-session", *_]:
            pass
        case ["make", *targets]:
            would = subprocess.run(["make", "-n", *targets], cwd=PROJECT, capture_output=True)
            assert would.returncode == 0, would.stderr
        case [".venv/bin/python", "run_plan.py", *options]:
            (workplace.path / "plan.json").write_text(README_PAGE.blocks("json")[0])
            (workplace.path / "experiment_plans").symlink_to(PROJECT / "experiment_plans")
            assert workplace.run(*options, "--dry_run").status == 0
        case [".venv/bin/python", "-m", "plots", "report", *options]:
            asked = []
            monkeypatch.setattr("plots.report.page.write_report", asked.append)
            assert plots_program.main(["report", *options]) == 0
            assert asked == [Path("outputs/quickstart/digits")]
        case [".venv/bin/python", "-m", "plots", name, *options]:
            asked = []
            monkeypatch.setattr(
                plots_program, "draw", lambda *args, **options: asked.append((args, options)) or []
            )
            assert plots_program.main([name, *options]) == 0
            assert check_options(name, asked[0][1]) == []
        case [".venv/bin/ray", command, *options]:
            imported("ray")
            told = help_of_ray(command)
            assert all(option.partition("=")[0] in told for option in options)
        case [".venv/bin/python", "-m", "tests.benchmarks", *names]:
            assert all((PROJECT / f"tests/benchmarks/{name}.py").is_file() for name in names)
        case [".venv/bin/python", "-m", module, *options]:
            shown = subprocess.run(
                [sys.executable, "-m", module, *options, "--help"], cwd=PROJECT, capture_output=True
            )
            assert shown.returncode == 0
            known = shown.stdout.decode()
            assert all(option in known for option in options if option.startswith("--"))
        case _:
            assert line.startswith(FROM_A_NETWORK), "say how the test runs this"


@functools.cache
def help_of_ray(command: str) -> str:
    program = [sys.executable, "-m", "ray.scripts.scripts", command, "--help"]
    shown = subprocess.run(program, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def _started(words: list[str]) -> list[str]:
    """The command that tmux, ssh or nohup starts, without where its output goes."""
    match words:
        case ["tmux", "new-session", "-d", "-s", _, command] | ["ssh", _, command]:
            return shlex.split(command)
        case ["nohup", *command]:
            return command[: command.index(">")]
    return words


def test_the_plans_of_the_readme_run(workplace: Workplace) -> None:
    assert len(README_PAGE.blocks("json")) == len(README_PLANS)
    for plan, (name, shrunk) in zip(README_PAGE.blocks("json"), README_PLANS.items(), strict=True):
        document = json.loads(plan) | {"seeds": [0]}
        assert len(plan.splitlines()) <= 20
        outcome = workplace.run_plan(
            workplace.write_plan(name, **document), *(f"--set={each}" for each in shrunk)
        )
        assert outcome.status == 0, outcome.err
    assert len(workplace.folders("controlled")) == 5
    assert (workplace.path / "outputs/exps/controlled/figures/controlled_curves.png").is_file()
    (trained,) = (workplace.path / "outputs/exps/text").glob("growing_numbers-*")
    assert sample.main(["--model", str(trained), "--num_samples", "2"]) == 0


def test_the_plan_that_shares_keys_makes_its_runs(workplace: Workplace) -> None:
    _, plan = page("plans").blocks("json")
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--dry_run", "--verbose")
    assert outcome.status == 0, outcome.err
    assert "9 runs" in outcome.out
    assert re.search(r"\n  opt_method +\"expected_reinforce\" +", outcome.out)


def test_the_plan_of_the_page_on_plans_makes_as_many_runs_as_it_says(workplace: Workplace) -> None:
    plan, _ = page("plans").blocks("json")
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--dry_run")
    assert outcome.status == 0, outcome.err
    assert outcome.out.count("pretrain") >= 3
    assert outcome.out.count("digits_expected_reinforce_lr_") == 6


def test_own_arrays_are_read(workplace: Workplace) -> None:
    (code,), (plan,) = page("controlled").blocks("python"), page("controlled").blocks("json")
    exec(compile(code, "controlled.md", "exec"), {})
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--set=epochs=2")
    assert outcome.status == 0, outcome.err


def own_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Writes the files of the page on own parts; gives the objects that plans say, in order."""
    for code in page("your_own_parts").blocks("python"):
        named = re.match(r"# (\w+)\.py\n", code)
        if named:
            (folder / f"{named[1]}.py").write_text(code)
            monkeypatch.delitem(sys.modules, named[1], raising=False)
        else:
            exec(compile(code, "your_own_parts.md", "exec"), {})
    return [json_of(block) for block in page("your_own_parts").blocks("json")]


def json_of(block: str) -> Any:
    """What a block says; keys without braces are those of an object."""
    return json.loads(block if block.startswith("{") else f"{{{block}}}")


def test_own_parts_run(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    task_and_reward, algorithm, *_ = own_parts(workplace.path, monkeypatch)
    plan = json.loads(README_PAGE.blocks("json")[1])
    new, run = (each["base_config"] for each in plan["configurations"])
    new["datapools"] = [task_and_reward["datapool"]]
    run |= task_and_reward
    parts = [task_and_reward["reward_fn"], {"id": "custom:steps:right_steps"}]
    run["reward_fn"] = {"id": "weighted_sum", "args": {"rewards": parts}}
    run["alg"]["id"] = algorithm["alg"]["id"]
    run["alg"]["policy"]["id"] = algorithm["alg"]["policy"]["id"]
    run["alg"]["args"] = {"num_samples_per_input": 2}
    run["env"]["n_envs"] = 8
    run["train_evaluation"] |= {"n_iters": 1, "metrics": [task_and_reward["reward_fn"]]}
    outcome = workplace.run_plan(workplace.write_plan(**plan))
    assert outcome.status == 0, outcome.err


def test_the_process_reward_is_placed_on_the_tokens_that_end_right_steps(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_parts(workplace.path, monkeypatch)
    reward = RewardConfig(id="custom:steps:right_steps").build()
    output = "é\n2+3=5\n4+4=9\n10+1=11\nend"
    tokenizer = byte_pairs(iter([output] * 9), 280, 64)
    ids: Any = tokenizer(output)["input_ids"]
    offsets = token_offsets(ids, tokenizer.decode)
    texts = Texts(["sums"], [output], [()], [{}], [len(ids)], [OutputTokens(ids, offsets)])
    (found,) = reward(texts)
    ends = [offsets[token][1] for token in np.flatnonzero(found)]
    assert reward.needs_tokens
    assert found.sum() == 2 and [output[:end][-6:] for end in ends] == ["2+3=5\n", "+1=11\n"]


def test_the_experiment_of_ones_own_runs_as_it_is_written(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, plan = own_parts(workplace.path, monkeypatch)
    outcome = workplace.run_plan(workplace.write_plan(**plan))
    assert outcome.status == 0, outcome.err
    scores = [json.loads(folder.summary.read_text())["score"] for folder in workplace.folders()]
    assert len(scores) == 2
    assert min(scores) < 0.1
    assert list((workplace.path / "outputs").rglob("figures/*last_values*.png"))


def test_the_keys_of_the_page_on_reward_models_are_known(workplace: Workplace) -> None:
    (workplace.path / "passages.jsonl").write_text('{"text": "A sentence. Another one."}\n')
    (workplace.path / "pairs.jsonl").write_text(
        '{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 20
    )
    models = {name: field.annotation for name, field in FinetuneConfig.model_fields.items()}
    for block in page("reward_models").blocks("json"):
        keys = json_of(block)
        if "experiment" in keys:
            pretrained = {"id": "pretrain", "experiment": "grue_new_model", "base_config": {
                "datapools": [{"id": "diary"}]}}  # fmt: skip
            plan = workplace.write_plan(configurations=[pretrained, keys])
            assert workplace.run_plan(plan, "--dry_run").status == 0
            continue
        for name, value in keys.items():
            model: Any = models[name]
            model = getattr(model, "__args__", (model,))[0]
            assert resolve(model, value)[1] == []


def test_the_plan_of_the_page_on_teachers_is_read(workplace: Workplace) -> None:
    (workplace.path / "pairs.jsonl").write_text(
        '{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 20
    )
    plan, reward = page("teachers").blocks("json")
    document = json.loads(plan)
    outcome = workplace.run_plan(workplace.write_plan(**document), "--dry_run")
    assert outcome.status == 0, outcome.err
    keys = json_of(reward)["reward_fn"]
    names = [each["name"] for each in document["configurations"][0]["base_config"]["rewards"]]
    assert keys["args"]["name"] in names
    assert resolve(RewardConfig, keys)[1] == []


def test_a_plan_for_several_gpus_is_read(workplace: Workplace) -> None:
    (plan,) = page("gpu").blocks("json")
    keys = json.loads(README_PAGE.blocks("json")[1])["configurations"][1]["base_config"]
    keys["tokenizer"]["model_name"] = keys["alg"]["policy"]["args"]["model_name"] = "gpt2"
    (workplace.path / "ppo.yml").write_text(json.dumps(keys))  # YAML knows JSON
    outcome = workplace.run_plan(
        workplace.write_plan(**json.loads(plan)), "--dry_run", "--set=gpu_ids_pool=[]"
    )
    assert outcome.status == 0, outcome.err


def test_the_plan_of_a_setting_of_ones_own_runs(workplace: Workplace) -> None:
    (plan,) = page("log_linear").blocks("json")
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--set=epochs=20")
    assert outcome.status == 0, outcome.err
    assert len(workplace.folders()) == 2


def test_the_plan_for_a_queue_is_read(workplace: Workplace) -> None:
    (plan,) = page("slurm").blocks("json")
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--dry_run")
    assert outcome.status == 0, outcome.err
    assert "8 runs" in outcome.out


def test_the_plan_for_a_ray_cluster_is_read(workplace: Workplace) -> None:
    (plan,) = page("ray").blocks("json")
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)), "--dry_run")
    assert outcome.status == 0, outcome.err
    assert "5 runs" in outcome.out


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    run = {"README.md": {"json", "sh"}, "docs/plans.md": {"json", "sh"},
           "docs/controlled.md": {"json", "python", "sh"}, "docs/gpu.md": {"json", "sh"},
           "docs/slurm.md": {"json", "sh"},
           "docs/diagnose.md": {"python", "sh"}, "docs/log_linear.md": {"json", "sh"},
           "docs/ray.md": {"json", "sh"},
           "docs/your_own_parts.md": {"json", "python"},
           "docs/teachers.md": {"json"},
           "docs/reward_models.md": {"json", "sh"}}  # fmt: skip
    for each in PAGES:
        found = set(re.findall(r"^```(\w*)$", each.text, re.MULTILINE))
        assert found - {"", "text"} <= run.get(each.name, {"sh"}), each.name


def test_a_trainer_takes_what_the_page_on_the_diagnosis_gives_it() -> None:
    (page,) = [each for each in PAGES if each.name == "docs/diagnose.md"]
    (code,) = page.blocks("python")
    given: dict[str, Any] = {}
    names = {"GRPOTrainer": lambda *_, **keys: given.update(keys), "my_reward": lambda **_: [0.0]}
    exec(code, names)
    assert given["reward_funcs"].__name__ == "<lambda>"
    assert given["callbacks"][0].steps == 20
