"""Preflight checks, device and type of scoring models, shared by all kinds of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError
from common.files.documents import json_object
from grue.models.weights import has_weights
from grue.scorers.options import ScorerArgs


def check_folder(name: str, key: str) -> Mapping[str, Any]:
    """Check a local model without loading it; return its configuration, {} for a hub id.

    Raises:
        UserError: the folder does not exist, or has no configuration or no weights.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise UserError(f"'{key}' = '{name}': no such folder")
        return {}
    advice = "; name the folder 'model' in it" if (folder / "model").is_dir() else ""
    try:
        config = json_object((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{key}' = '{name}': its config.json cannot be read: {error}{advice}"
        ) from error
    if not has_weights(folder):
        raise UserError(f"'{key}' = '{name}': the folder holds no weights{advice}")
    return config


def num_labels(config: Mapping[str, Any]) -> int:
    """Return the number of labels of a classifier's configuration; two if it does not say."""
    return len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))


def scorer_device(options: ScorerArgs) -> torch.device:
    """Return the configured device, or else the device on which this process computes.

    That is the GPU that holds most of its tensors, and the CPU while no GPU is in use.
    """
    if options.device is not None:
        try:
            return torch.zeros((), device=options.device).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"'device' = '{options.device}': cannot be used ({reason}); a run sees the GPUs of "
                "its 'gpu_ids' alone, counted from 0"
            ) from error
    if not torch.cuda.is_initialized():
        return torch.device("cpu")
    return torch.device("cuda", max(range(torch.cuda.device_count()), key=_tensors_on))


def scorer_dtype(options: ScorerArgs) -> torch.dtype:
    """Return the configured type of weights."""
    found: torch.dtype = getattr(torch, options.dtype)
    return found


def _tensors_on(gpu: int) -> int:
    return int(torch.cuda.memory_allocated(gpu))
