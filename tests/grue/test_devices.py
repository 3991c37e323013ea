"""Text runs and GPUs: what the runner leaves alone, what the Trainer takes, what saves memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, TrainingArguments
from transformers.utils.import_utils import is_torch_tf32_available

from common.config.base import Config
from common.config.resolve import resolve
from common.config.run import RunConfig
from common.errors import Problem, UserError
from common.experiment import EXPERIMENTS
from common.key_paths import with_value
from common.plan.load import load_plan
from common.plan.run import Run
from common.registry import import_part
from grue.scorers.loading import scorer_device
from grue.scorers.options import ScorerArgs
from grue.supervised.arguments import training_arguments
from sft_vs_rft.config import ControlledConfig
from tests.conftest import Workplace
from tests.grue import test_classifier, test_reward_model
from tests.grue.conftest import nested, save_model, write
from tests.grue.parts import LETTERS
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def test_runs_on_the_cpu_leave_gpus_alone(
    workplace: Workplace, model: Path, two_gpus: list[str]
) -> None:
    """The Trainer alone would ask the GPU for its random state at every checkpoint."""
    keys = {"max_steps": 4, "save_steps": 2, "bf16": True}
    supervised = finetuning(
        model, **{f"alg__training_args__{key}": value for key, value in keys.items()}
    )
    reinforced = reinforcement(model, train_evaluation__n_iters=1)
    assert workplace.run_plan(write(workplace, supervised, reinforced)).status == 0
    _, folder = workplace.folders()
    assert list(folder.checkpoints.glob("checkpoint-*/rng_state.pth"))
    assert {folder.read_status()["device"] for folder in workplace.folders()} == {"cpu"}


def test_plans_of_gpu_runs_leave_gpus_to_their_workers(
    workplace: Workplace, model: Path, two_gpus: list[str]
) -> None:
    """The worker, a process of its own, really finds no GPU here and says so."""
    run = finetuning(model, alg__training_args__tf32=True, alg__training_args__bf16=True)
    outcome = workplace.run_plan(write(workplace, run), "--gpu_ids", "1")
    assert outcome.status == 1, outcome.err
    (folder,) = workplace.folders()
    assert "torch cannot use it" in folder.read_status()["reason"]
    assert folder.read_status()["device"] == "cuda:1"


def preflight(run: Run) -> list[str]:
    check: Any = import_part(run.spec.preflight)
    problems: list[Problem] = check([run])
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("kind", ["finetune", "classifier", "reward_model"])
def test_arguments_that_need_a_gpu_are_checked_without_one(
    workplace: Workplace, model: Path, tmp_path: Path, two_gpus: list[str], kind: str
) -> None:
    args: dict[str, Any] = {"tf32": True, "fp16": True, "torch_compile": True, "max_steps": 1}
    if kind == "finetune":
        made = [finetuning(model, alg__training_args=args, gpu_ids=ids) for ids in ([], [1])]
        plan = write(workplace, *[one | {"random_seed": n} for n, one in enumerate(made)])
    else:
        data = test_reward_model.write_data(tmp_path / "data", 2, train=4)
        keys = (
            test_classifier.configuration(model, training_args=args, architecture={})
            if kind == "classifier"
            else test_reward_model.configuration(
                model, data, "pairwise", alg={"training_args": args}
            )
        )
        experiment = "grue_classifier" if kind == "classifier" else kind
        bases = [keys | {"gpu_ids": ids, "random_seed": n} for n, ids in enumerate(([], [1]))]
        plan = workplace.write_plan(
            experiment=experiment, configurations=[{"base_config": base} for base in bases]
        )
    on_cpu, on_gpu = load_plan(plan, EXPERIMENTS).runs
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        assert preflight(on_cpu) == [
            "'alg.training_args.tf32' = true: the CPU has no TensorFloat-32; give the run a GPU "
            "('gpu_ids', --gpu_ids), or drop it"
        ]
        assert preflight(on_gpu) == []


def test_the_preflight_of_cpu_runs_opens_no_gpu(
    workplace: Workplace, model: Path, two_gpus: list[str]
) -> None:
    """At ``torch_compile`` the library looks whether the GPU in use has TensorFloat-32."""
    is_torch_tf32_available.cache_clear()
    compiled = finetuning(model, alg__training_args__torch_compile=True)
    misspelt = finetuning(model, alg__training_args__learning_rat=1)
    assert workplace.run_plan(write(workplace, compiled, misspelt)).status == 2
    is_torch_tf32_available.cache_clear()


def test_tf32_on_the_cpu_is_refused_before_the_start(
    workplace: Workplace, model: Path, two_gpus: list[str]
) -> None:
    run = finetuning(model, alg__training_args__tf32=True)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert "'alg.training_args.tf32' = true: the CPU has no TensorFloat-32" in outcome.err
    run = finetuning(model, alg__training_args__learning_rat=1)
    outcome = workplace.run_plan(write(workplace, run), "--gpu_ids", "1")
    assert outcome.status == 2
    assert "learning_rat' = 1: unknown key; did you mean 'learning_rate'?" in outcome.err


def test_runs_of_a_cluster_have_gpus_in_their_checks(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    run = finetuning(model, alg__training_args__tf32=True)
    plan = write(workplace, run, gpu_ids_pool=[0], executor="slurm")
    assert "needs SLURM's sbatch" in workplace.run_plan(plan).err
    plan = write(workplace, run, executor="slurm")
    assert "the CPU has no TensorFloat-32" in workplace.run_plan(plan).err


def judged(device: str) -> dict[str, Any]:
    return {"id": "learned_reward", "args": {"model_name": "no/body", "label_ix": 0,
                                             "device": device}}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "gpu_ids", "message"),
    [
        ("cuda", [], "= 'cuda': the run has no GPU"),
        ("cuda:1", [1], "= 'cuda:1': the run has 1 GPU, and sees those of its 'gpu_ids' alone"),
        ("cuda:2", [1, 0], "= 'cuda:2': the run has 2 GPUs"),
        ("gpu:0", [1], "= 'gpu:0': is no device"),
        ("cuda:1", [1, 0], None),
        ("cuda", [1], None),
        ("cpu", [], None),
    ],
)
@pytest.mark.parametrize("is_part", [False, True])
def test_a_judges_device_must_be_one_of_the_run(
    workplace: Workplace, model: Path, two_gpus: list[str], is_part: bool,
    device: str, gpu_ids: list[int], message: str | None,
) -> None:  # fmt: skip
    """Whether the judge is a metric or a part of the reward; the last problem is of another key."""
    more: dict[str, Any] = {"train_evaluation__metrics": [judged(device)]}
    key = "train_evaluation.metrics[0].args.device"
    if is_part:
        parts = {"id": "weighted_sum", "args": {"rewards": [{"id": LETTERS}, judged(device)]}}
        more, key = {"reward_fn": parts}, "reward_fn.args.rewards[1].args.device"
    wrong = {"datapool__id": "jsonl", "datapool__args": {"path": str(model)}}
    run = reinforcement(model, gpu_ids=gpu_ids, **more, **wrong)
    run.pop("reward_fn.id" if is_part else "", None)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    if message is None:
        assert ".args.device'" not in outcome.err
    else:
        assert f"'{key}' {message}" in outcome.err


def test_the_trainer_takes_one_gpu_though_it_sees_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two are seen by a run with a second one for a judge."""
    from accelerate.state import AcceleratorState

    chosen: list[Any] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    device = torch.device("cuda:0")
    try:
        found = training_arguments(
            {"per_device_train_batch_size": 8}, tmp_path, seed=0, device=device
        )
        assert (found.device, found.n_gpu, found.train_batch_size) == (device, 1, 8)
        assert chosen == [device]
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_judges_gpu_that_the_run_has_not() -> None:
    with pytest.raises(UserError, match="a run sees the GPUs of its 'gpu_ids' alone"):
        scorer_device(ScorerArgs(device="cuda:7000"))


def configurations(model: Path, data: Path) -> list[tuple[type[RunConfig], dict[str, Any]]]:
    """One of each kind of run."""
    flat = [
        finetuning(model),
        extraction(model),
        *(reinforcement(model, name) for name in ("ppo", "a2c", "trpo", "reinforce")),
        reinforcement(model, "reinforce", alg__args__dropout=True),
    ]
    found = []
    for keys in flat:
        experiment = EXPERIMENTS.get(keys.pop("experiment"))
        found.append((experiment.config, nested(keys)))
    reward = test_reward_model.configuration(model, data, "pairwise")
    found.append((EXPERIMENTS.get("reward_model").config, reward))
    classifier = test_classifier.configuration(model)
    found.append((EXPERIMENTS.get("grue_classifier").config, classifier))
    found.append((ControlledConfig, {}))
    return found


def value_at(config: Any, key: str) -> Any:
    for name in key.split("."):
        if isinstance(config, dict):
            return config.get(name, getattr(TrainingArguments(report_to="none"), name))
        assert isinstance(config, Config) and name in type(config).model_fields, key
        config = getattr(config, name)
    return config


def test_what_saves_memory_names_keys_and_their_values_and_can_be_done(
    model: Path, tmp_path: Path
) -> None:
    for kind, keys in configurations(model, tmp_path):
        config, problems = resolve(kind, keys)
        assert config is not None, [str(problem) for problem in problems]
        ways = list(config.ways_to_save_memory())
        assert len(ways) >= 2, kind
        for way in ways:
            key = re.findall(r"'([\w.]+)'", way)[0]
            value = value_at(config, key)
            if way.startswith("lower"):
                assert f"lower '{key}' ({value})" in way
            to = re.search(r"set '[\w.]+' to '?(\w+)'?$", way)
            if to:
                changed = {"true": True, "false": False}.get(to[1], to[1])
                assert value != changed
                again = with_value(keys, key, changed)
                assert [str(one) for one in resolve(kind, again)[1]] == [], way
