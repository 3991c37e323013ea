"""The published MNIST runs beside ours: ``python -m tests.benchmarks published_mnist``.

Five labels per input, 10 % changed, Adam 1e-4, root seed 7; the subset is drawn from all 60,000
images. Reads MNIST's archives from ``mnist_full`` in the folder that ``DATA_DIR`` names, or
downloads them to ``./data``. The published figures are those of the paper's authors' code.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import run_plan
from common.run.folder import read_json_lines

_EPOCHS = 1000
_PRETRAIN_LOSS = 1.6107
# By method and number of epochs: reward on changed inputs, on the others, accuracy on changed.
_PUBLISHED = {
    ("expected_reinforce", 1): (-0.9998, -0.575, 0.00),
    ("expected_reinforce", 100): (-0.9997, 0.966, 0.00),
    ("expected_reinforce", 500): (-0.957, 0.998, 0.02),
    ("expected_reinforce", 1000): (-0.962, 1.000, 0.02),
    ("supervised", 1): (-0.9998, -0.576, 0.00),
    ("supervised", 100): (-0.677, 0.730, 0.15),
    ("supervised", 500): (0.881, 0.982, 1.00),
    ("supervised", 1000): (0.979, 0.997, 1.00),
}
_COLUMNS = ("reward small reward std", "reward large reward std", "train accuracy small reward std")


def _data_dir(scratch: Path) -> Path:
    """A folder of MNIST; archives are unpacked beside a copy, not beside the original."""
    archives = Path(os.environ.get("DATA_DIR", ".")) / "mnist_full"
    if not archives.is_dir():
        return Path("./data")
    return Path(shutil.copytree(archives, scratch / "data"))


def _plan(outputs_dir: str, data_dir: str) -> dict[str, Any]:
    common = {
        "outputs_dir": outputs_dir, "dataset": "mnist", "model_type": "mlp", "random_seed": 7,
        "data_dir": data_dir, "num_labels_per_sample": 5,
        "samples_rnd_seed": 192, "init_rnd_seed": 111, "batch_size": 512, "optimizer": "adam",
        "lr": 1e-4, "epochs": _EPOCHS,
    }  # fmt: skip
    pretrain = {**common, "experiment_name": "pretrain", "use_multiple_labels_per_sample": True,
                "validate_every": 10}  # fmt: skip
    finetune = {**common, "experiment_name": "{opt_method}", "frac_samples_to_modify_labels": 0.1,
                "load_model_from_checkpoint": "@pretrain.checkpoint"}  # fmt: skip
    methods = {"opt_method": ["expected_reinforce", "supervised"]}
    return {
        "multiprocess": True,
        "num_parallel": 2,
        "configurations": [
            {"id": "pretrain", "base_config": pretrain},
            {"base_config": finetune, "options": methods},
        ],
    }


def main() -> None:
    """Prints the published figures and ours, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist.json"
        path.write_text(json.dumps(_plan(folder, str(_data_dir(Path(folder))))))
        if run_plan.main(["--plan_config_path", str(path), "--disable_console_log"]):
            raise SystemExit("the plan failed; see above")
        rows = {
            found.parent.name.rpartition("-")[0]: read_json_lines(found)
            for found in Path(folder).glob("mnist/*/metrics.jsonl")
        }
    print("MNIST MLP                         published                this project")
    print(f"  pretraining loss                {_PRETRAIN_LOSS:<24} "
          f"{rows['pretrain'][-1]['train loss']:.4f}")  # fmt: skip
    for (method, epoch), published in _PUBLISHED.items():
        ours = [rows[method][epoch - 1][name] for name in _COLUMNS]
        print(f"  {method:19s}after {epoch:4d}    {_shown(published)}   {_shown(ours)}")
    print("  (reward on changed inputs, on the others; accuracy on changed inputs)")


def _shown(values: Any) -> str:
    small, large, accuracy = values
    return f"{small:8.4f} {large:7.3f} {accuracy:5.0%}"


if __name__ == "__main__":
    main()
