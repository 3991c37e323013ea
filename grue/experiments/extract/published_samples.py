"""Samples in the file format of the published extraction runner."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.run.folder import replacing
from grue.experiments.extract.config import ExtractConfig

if TYPE_CHECKING:
    import pandas as pd


def file_name(config: ExtractConfig, num_samples: int) -> str:
    """Return the published file name, which contains the last part of the model's name."""
    model = Path(config.alg.model_name).name
    now = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime())
    seed = config.datapool.train_samples_rnd_seed
    return (
        f"train_reward_stats_{config.datapool.id}_{model}_num_train_{num_samples}_rnd_"
        f"{-1 if seed is None else seed}_{config.output_file_suffix}_{now}.pt"
    )


def write(folder: Path, config: ExtractConfig, index: Sequence[int], samples: pd.DataFrame) -> Path:
    """Write the dictionary of lists and tensors with ``torch.save``; return its path.

    ``samples`` has the rows of all inputs in order, K each, and one column per metric after the
    column ``num_tokens``.
    """
    import torch

    num_inputs = len(index)
    texts = samples["output"].to_numpy().reshape(num_inputs, -1)
    names = list(samples.columns)[list(samples.columns).index("num_tokens") + 1 :]
    found: dict[str, Any] = {
        "all_generated_texts": [list(row) for row in texts],
        "all_metric_values": {
            name: torch.tensor(samples[name].to_numpy().reshape(num_inputs, -1)) for name in names
        },
        "used_train_indices": torch.tensor(list(index), dtype=torch.int64),
        "num_train_samples": num_inputs,
        "config": config.model_dump(mode="json"),
    }
    before = list(folder.glob("train_reward_stats_*.pt"))
    path = folder / file_name(config, num_inputs)
    with replacing(path) as file:
        torch.save(found, file)
    for old in before:
        if old != path:
            old.unlink()
    return path
