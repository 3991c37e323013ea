"""CIFAR's pickles: what they hold is checked, and none of it is executed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data import plain_pickle
from sft_vs_rft.data.run_data import Data, make_data

Batch = dict[bytes, Any]


def write(folder: Path, damage: Callable[[Batch], Any] = lambda batch: batch) -> Path:
    """A folder with CIFAR-100's two files, the training one damaged."""
    (folder / "cifar-100-python").mkdir()
    for part, size in (("train", 60), ("test", 20)):
        batch = {
            b"data": np.full((size, 3072), 255, dtype=np.uint8),
            b"fine_labels": [i % 100 for i in range(size)],
            b"coarse_labels": [i % 20 for i in range(size)],
        }
        content = damage(batch) if part == "train" else batch
        (folder / "cifar-100-python" / part).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def read(folder: Path, dataset: str = "cifar100coarse") -> Data:
    keys: dict[str, Any] = {"model_type": "mlp", "data_dir": str(folder), "num_train_samples": 0}
    return make_data(ControlledConfig(dataset=dataset, **keys), torch.device("cpu"))


def test_a_folder_is_read_and_normalised(tmp_path: Path) -> None:
    coarse = read(write(tmp_path))
    assert coarse.num_classes == 20
    assert coarse.train_labels.tolist() == [i % 20 for i in range(60)]
    assert coarse.train_inputs.values[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - mean) / std for mean, std in ((0.507, 0.267), (0.486, 0.256), (0.44, 0.276))]
    )
    assert read(tmp_path, "cifar100").num_classes == 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: [1, 2], "train: expected a dictionary of arrays"),
        (lambda b: {b"data": b[b"data"]}, r"train: not one of CIFAR's files: KeyError"),
        (lambda b: b | {b"data": b[b"data"][:, 1:]}, "not one of CIFAR's files: ValueError"),
        (lambda b: b | {b"data": b[b"data"] / 255}, "images must be bytes"),
        (lambda b: b | {b"coarse_labels": [0.5] * 60}, "labels whole numbers"),
        (lambda b: b | {b"coarse_labels": ["a"] * 60}, "labels whole numbers"),
        (lambda b: b | {b"coarse_labels": [1] * 59}, "train: 60 images, but 59 labels"),
        (lambda b: b | {b"coarse_labels": [20] * 60}, "a training label is 20, .* from 0 to 19"),
        (lambda b: b | {b"coarse_labels": [-1] * 60}, "a training label is -1"),
    ],
)
def test_what_is_no_cifar_is_refused(
    tmp_path: Path, damage: Callable[[Batch], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, damage))


class Dangerous:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("held", [Dangerous(), np.array([Dangerous()]), np.array(["a"]), Path()])
def test_other_objects_are_refused(tmp_path: Path, held: Any) -> None:
    with pytest.raises(UserError, match="not a pickle of plain arrays, refused: it holds a"):
        read(write(tmp_path, lambda batch: batch | {b"data": held}))
    assert not Path("executed").exists()


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "array", [np.arange(12, dtype=">i4").reshape(3, 4), np.asfortranarray(np.eye(3)[:2])]
)
def test_arrays_of_any_layout_are_read(tmp_path: Path, protocol: int, array: np.ndarray) -> None:
    path = tmp_path / "array"
    path.write_bytes(pickle.dumps({b"data": array, b"labels": [1, 2]}, protocol=protocol))
    found = plain_pickle.read(path)
    assert found[b"labels"] == [1, 2]
    assert found[b"data"].dtype == array.dtype
    assert np.array_equal(found[b"data"], array)


def test_damage_that_numpy_would_take_up_does_no_harm(tmp_path: Path) -> None:
    """Flags of an array's type that speak of objects where there are bytes."""
    path = tmp_path / "damaged"
    content = pickle.dumps({b"data": np.arange(24, dtype=np.uint8)}, protocol=2)
    flags = b"\xffK%ct"
    assert flags % 0 in content
    path.write_bytes(content.replace(flags % 0, flags % 1))
    assert plain_pickle.read(path)[b"data"].tolist() == list(range(24))
