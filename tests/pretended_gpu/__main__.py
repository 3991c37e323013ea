"""Makes kinds of runs on the pretended GPU, and prints what the host waited for.

``python -m tests.pretended_gpu KIND...`` prints one object of JSON: by kind and moment, what
`Waits.as_json` gives; of a kind that failed, its ``error``. Kinds are named by how they begin.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import common.machine.devices
from tests.pretended_gpu import autocast
from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.waits import Waits


def _run_device(gpu_ids: Iterable[int]) -> torch.device:
    return DEVICE if list(gpu_ids) else torch.device("cpu")


common.machine.devices.run_device = _run_device  # before the runs' modules take it
os.environ["ACCELERATE_TORCH_DEVICE"] = str(DEVICE)  # where the library's Trainer computes
_AUTOCAST = autocast.register()

from tests.pretended_gpu import controlled_runs, device_runs, text_runs, training_runs  # noqa: E402

Kind = Callable[[PretendedGpu, Path], dict[str, Waits]]

KINDS: dict[str, Kind] = {
    **{
        f"controlled: {model}": partial(controlled_runs.epochs, model=model)
        for model in ("mlp", "resnet18", "bert")
    },
    **{
        f"controlled: {model}, on the CPU too": partial(
            controlled_runs.like_on_the_cpu, model=model
        )
        for model in ("mlp", "bert")
    },
    "controlled: whole": controlled_runs.whole,
    "controlled: sweep": controlled_runs.sweep,
    **device_runs.KINDS,
    **text_runs.KINDS,
    **training_runs.KINDS,
}


def main(names: list[str]) -> None:
    """Makes the kinds in turn."""
    torch.autograd.set_multithreading_enabled(False)  # backward passes happen where they are asked
    found: dict[str, Any] = {}
    with PretendedGpu() as gpu, tempfile.TemporaryDirectory() as folder:
        for name in (name for name in KINDS if name.startswith(tuple(names))):
            try:
                made = KINDS[name](gpu, Path(folder) / name)
                found[name] = {moment: waits.as_json() for moment, waits in made.items()}
            except Exception:
                found[name] = {"error": traceback.format_exc()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:] or [""])
