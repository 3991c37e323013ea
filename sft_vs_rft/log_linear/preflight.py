"""Preflight check of setting files, starts and checkpoints, before the first run starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.errors import Problem, UserError
from common.plan.run import Run
from common.training import checkpoint
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.setting import Setting, make_setting
from sft_vs_rft.log_linear.start import start_weights
from sft_vs_rft.log_linear.trainer import LogLinearPolicy

_SETTING_KEYS = (
    "custom_setting_config_path", "setting", "weights_solver", "logits_temperature", "dtype",
    "num_outputs", "feature_dim",
)  # fmt: skip
_CHECKPOINTS = (
    "load_model_from_checkpoint", "load_kl_reg_ref_model_from_checkpoint", "trainer_checkpoint",
)  # fmt: skip


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of the settings, starts and checkpoints of ``runs``.

    Each different start is solved for once.
    """
    known: dict[str, Setting | Problem] = {}
    problems = []
    for run in runs:
        config = run.config
        assert isinstance(config, LogLinearConfig)
        key = config.model_dump_json(include=set(_SETTING_KEYS))
        if key not in known:
            known[key] = _setting(config)
        setting = known[key]
        if isinstance(setting, Problem):
            problems += [setting.at(run.where)] if setting.at(run.where) not in problems else []
            continue
        problems += [problem.at(run.where) for problem in _checkpoint_problems(config, setting)]
    return problems


def _setting(config: LogLinearConfig) -> Setting | Problem:
    """Return the setting of a run, or what is wrong with it or with its start."""
    try:
        setting = make_setting(config)
        start_weights(config, setting)
    except UserError as error:
        path = config.custom_setting_config_path
        if path is None:
            return Problem(str(error), "setting")
        return Problem(str(error), "custom_setting_config_path", path)
    return setting


def _checkpoint_problems(config: LogLinearConfig, setting: Setting) -> Iterator[Problem]:
    """Yield the problems of checkpoints that are there already; references are to later ones."""
    policy = LogLinearPolicy(np.zeros(setting.shape[-1]))
    for key in _CHECKPOINTS:
        path = getattr(config, key)
        if path is None or path.startswith("@"):
            continue
        try:
            why = checkpoint.misfit(policy, checkpoint.weights(checkpoint.load(Path(path))))
        except UserError as error:
            why = str(error)
        if why is not None:
            yield Problem(why, key, path)
