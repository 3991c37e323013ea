"""Trained policy from the folder of a run or of a model, with the run's settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from common.config.resolve import resolve_valid_keys
from common.errors import UserError
from common.experiment import EXPERIMENTS
from common.machine.devices import gpus_absent, run_device
from common.plan.load import load_plan
from common.run.folder import RunFolder, read_record
from grue import policies
from grue.experiments.finetune.config import (
    FinetuneConfig,
    ReinforcementConfig,
    SupervisedConfig,
)
from grue.models.config import ModelOptions, ModelType, Side, TokenizerConfig
from grue.models.loading import load_model, load_tokenizer
from grue.models.weights import loaded
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.runs.model_folder import MODEL
from grue.scorers.reward_model import FILE
from grue.tasks.config import DatapoolConfig

log = logging.getLogger(__name__)

_KEY = "--model"


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy with the settings of its run."""

    policy: Policy
    generation: GenerationConfig
    datapool: DatapoolConfig | None = None
    """Task of the run; None for a model without a run."""
    max_prompt_length: int | None = None
    prompt_side: Side = "left"


def load_trained_policy(
    name: str, plan: Path | None = None, gpu_id: int | None = None
) -> TrainedPolicy:
    """Return the policy called ``name``: a run's folder, a model's folder, or a hub id.

    Its settings are those of its run, or of the last finetuning run in ``plan``. It is on a GPU, if
    one is given, or on the CPU.

    Raises:
        UserError: there is no such policy, the run has no model yet, the model generates no text,
            the plan cannot be read, or the plan finetunes nothing; or the machine has other GPUs.
    """
    device = _device(gpu_id)
    folder = RunFolder(Path(name))
    if not folder.status.exists():
        if plan is not None:
            return _as_configured(name, _last_of(plan), device)
        return TrainedPolicy(_policy(name, device), GenerationConfig(do_sample=True, top_k=0))
    if not (folder.path / MODEL).is_dir():
        status = folder.read_status().get("status", "status unknown")
        raise UserError(f"{_KEY} {name}: the run ({status}) has no folder '{MODEL}'; name one that "
                        "finetunes a model and is done")  # fmt: skip
    _refuse_reward_model(folder.path / MODEL)
    config = _of_run(folder) if plan is None else _last_of(plan)
    return _as_configured(str(folder.path / MODEL), config, device)


def _device(gpu_id: int | None) -> torch.device:
    """Return the device of the policy: the CPU, too, on a machine without any GPU."""
    gpu_ids = () if gpu_id is None else (gpu_id,)
    absent = gpus_absent(gpu_ids)
    if absent is None:
        return run_device(gpu_ids)
    told = f"--gpu_id {gpu_id}: {absent.message}"
    if not absent.computes_on_cpu:
        raise UserError(told)
    log.warning("%s", told)
    return run_device(())


def _last_of(path: Path) -> FinetuneConfig:
    """Return the configuration of a plan's last finetuning run."""
    if not path.is_file():
        raise UserError(f"--plan {path}: no such file")
    runs = load_plan(path, EXPERIMENTS).runs
    found = [run.config for run in runs if isinstance(run.config, FinetuneConfig)]
    if not found:
        raise UserError(f"--plan {path}: has no run of the experiment 'grue_finetune'")
    return found[-1]


def _refuse_reward_model(folder: Path) -> None:
    if (folder / FILE).exists():
        raise UserError(f"{_KEY} {folder}: is a reward model, which writes nothing")


def _of_run(folder: RunFolder) -> FinetuneConfig:
    """Return the configuration of a finetuning run."""
    values = read_record(folder.config, TypeAdapter(dict[str, Any])) or {}
    config, problems = resolve_valid_keys(FinetuneConfig, values)
    if config is None or problems:
        raise UserError(
            f"{_KEY} {folder.path}: is no run of finetuning ({problems[0]}); name its model "
            f"folder, '{folder.path / MODEL}'"
        )
    return config


def _as_configured(model: str, config: FinetuneConfig, device: torch.device) -> TrainedPolicy:
    """Return the model as training runs of this configuration use it."""
    datapool = config.datapool
    if isinstance(config, SupervisedConfig):
        assert config.evaluation_settings is not None, "checked with the run's keys"
        limit, side = config.tokenizer.max_length, config.tokenizer.truncation_side
        policy = _policy(model, device)
        return TrainedPolicy(policy, config.evaluation_settings, datapool, limit, side)
    assert isinstance(config, ReinforcementConfig), "every configuration is of one kind"
    args = config.alg.policy.args
    policy = _policy(model, device, policies.find(config.alg.policy.id))
    policy.args, policy.prefix, policy.suffix = args, args.query_prefix, args.query_suffix
    longest = config.env.args.max_prompt_length
    return TrainedPolicy(
        policy, args.generation_kwargs, datapool, longest, args.prompt_truncation_side
    )


def _policy(name: str, device: torch.device, kind: type[Policy] = Policy) -> Policy:
    from transformers import AutoConfig

    _refuse_reward_model(Path(name))
    architecture = loaded(AutoConfig.from_pretrained, name, _KEY)
    model_type: ModelType = "seq2seq" if architecture.is_encoder_decoder else "causal"
    model = load_model(name, model_type, ModelOptions(), seed=0, dropout=False)
    tokenizer = load_tokenizer(TokenizerConfig(model_name=name))
    return kind(model, tokenizer, device)
