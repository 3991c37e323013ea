from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.images import IMAGES
from sft_vs_rft.data.labels import draw_changed, draw_label_sets, draw_labels_outside
from sft_vs_rft.data.own_arrays import npz_pool
from sft_vs_rft.data.run_data import Data, make_data
from sft_vs_rft.data.stratified import stratified_subset
from sft_vs_rft.dataset_version import data_edition
from sft_vs_rft.models.build import mlp

CPU = torch.device("cpu")


def data(**keys: Any) -> Data:
    return make_data(
        ControlledConfig.model_validate({"dataset": "digits", "model_type": "mlp", **keys}), CPU
    )


@pytest.mark.parametrize(("num_classes", "k"), [(10, 1), (10, 5), (3, 3), (2, 2)])
def test_label_sets_begin_with_the_class_and_hold_no_label_twice(num_classes: int, k: int) -> None:
    sets = draw_label_sets(num_classes, k)
    assert sets.shape == (num_classes, k)
    assert sets[:, 0].tolist() == list(range(num_classes))
    assert all(len(set(row)) == k for row in sets.tolist())
    assert sets.min() >= 0 and sets.max() < num_classes


def test_one_label_per_input_draws_nothing() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw_label_sets(10, 1)
    draw_changed(100, 0.0)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("k", [1, 5, 9])
def test_new_labels_lie_outside_the_set(k: int) -> None:
    torch.manual_seed(0)
    sets, labels = draw_label_sets(10, k), torch.arange(10).repeat(200)
    new = draw_labels_outside(labels, sets)
    assert not (new[:, None] == sets[labels]).any()
    drawn = {label: set(new[labels == label].tolist()) for label in range(10)}
    assert all(len(values) == 10 - k for values in drawn.values())  # all candidates occur


def test_data_depend_on_their_own_seed_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    one = data(samples_rnd_seed=5, num_train_samples=50)
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(2)
    np.random.seed(2)
    other = data(samples_rnd_seed=5, num_train_samples=50)
    assert one.record == other.record
    torch.manual_seed(1)
    np.random.seed(1)
    assert (torch.rand(1), np.random.rand()) == after  # the block left the generators alone


@pytest.mark.parametrize("size", [0, -1, 1297])
def test_everything_is_taken_in_order(size: int) -> None:
    assert data(num_train_samples=size).record["train_indices"] == list(range(1297))


def test_more_than_there_is_is_a_warning_and_then_everything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert len(data(num_train_samples=5000).train_inputs) == 1297
    assert "'num_train_samples' = 5000: there are only 1297; all are used" in caplog.text


def test_a_size_that_nobody_has_given_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert len(data(num_train_samples=50).test_inputs) < ControlledConfig().num_test_samples
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_subset_smaller_than_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match="'num_train_samples' = 4: a stratified subset has"):
        data(num_train_samples=4)


def test_digits_are_normalised_as_published() -> None:
    inputs = data(num_train_samples=0).train_inputs.values
    assert inputs.shape == (1297, 1, 8, 8)
    assert inputs.min().item() == pytest.approx((0 - 0.3053) / 0.3760)
    assert inputs.max().item() == pytest.approx((1 - 0.3053) / 0.3760)


def test_mlp_layers() -> None:
    model = mlp((1, 8, 8), (32, 16), 10)
    assert [tuple(p.shape) for p in model.parameters()] == [
        (32, 64), (32,), (16, 32), (16,), (10, 16), (10,),
    ]  # fmt: skip
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.standard_normal((40, 6)).astype(np.float32),
        "y_train": np.arange(40) % 4,
        "x_test": rng.standard_normal((20, 6)).astype(np.float32),
        "y_test": np.arange(20) % 4,
    }


def save(path: Path, arrays: dict[str, Any]) -> str:
    np.savez(path / "own.npz", **arrays)
    return str(path / "own.npz")


def test_own_data(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    mask = np.zeros(40, dtype=bool)
    mask[[3, 7, 20]] = True
    path = save(tmp_path, {**arrays, "changed_train": mask})
    own = data(dataset="npz", data_path=path, num_train_samples=0)
    assert own.num_classes == 4
    assert own.train_inputs.values.shape == (40, 6)
    assert own.record["changed_positions"] == [3, 7, 20]
    some = data(dataset="npz", data_path=path, num_train_samples=20)
    kept = torch.tensor(some.record["train_indices"])
    assert torch.equal(some.changed, torch.from_numpy(mask)[kept])


def test_own_bytes_are_scaled(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    arrays["x_train"] = np.full((40, 2, 3), 255, dtype=np.uint8)
    arrays["x_test"] = np.zeros((20, 2, 3), dtype=np.uint8)
    own = data(dataset="npz", data_path=save(tmp_path, arrays), num_train_samples=0)
    assert own.train_inputs.values.unique().tolist() == [1.0]


def test_bytes_and_numbers_in_one_file_are_each_scaled_as_they_are(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    arrays["x_train"] = np.full((40, 6), 255, dtype=np.uint8)
    arrays["x_test"] = np.ones((20, 6), dtype=np.float32)
    own = data(dataset="npz", data_path=save(tmp_path, arrays), num_train_samples=0)
    assert own.train_inputs.values.unique().tolist() == own.test_inputs.values.unique().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "lacks the arrays x_test; found: x_train, y_train, y_test"),
        ({"y_train": np.arange(39)}, "40 training inputs, but 39 labels"),
        ({"y_train": np.arange(40) - 1}, "y_train must hold whole numbers from 0"),
        ({"y_train": np.zeros(40, int), "y_test": np.zeros(20, int)}, "all labels are 0, so that"),
        ({"y_train": np.arange(40) / 2}, "y_train must hold whole numbers from 0"),
        (
            {"x_test": np.zeros((20, 5), np.float32)},
            r"inputs have the shape \[6\], test inputs \[5\]",
        ),
        ({"x_train": np.full((40, 6), np.nan)}, "x_train holds NaN, infinite values"),
        ({"x_train": np.full((40, 6), 1e300)}, "x_train holds .* beyond float32"),
        ({"x_train": np.zeros((40, 0))}, "x_train must hold numbers"),
        ({"x_train": np.array(["a"] * 40)}, "x_train must hold numbers"),
        ({"changed_train": np.zeros(3, bool)}, "changed_train must be a bool array"),
        ({"x_train": np.array([{}] * 40, dtype=object)}, "not an npz file of plain arrays"),
    ],
)
def test_own_data_that_do_not_fit(
    tmp_path: Path, arrays: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    kept = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        npz_pool(Path(save(tmp_path, kept)))


def test_a_text_file_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    path.write_text("hello")
    with pytest.raises(UserError, match="not an npz file"):
        npz_pool(path)


def test_mnist_is_read_and_normalised(data_dir: Path) -> None:
    mnist = data(dataset="mnist", data_dir=str(data_dir), samples_rnd_seed=192)
    assert mnist.train_inputs.values.shape == (1000, 1, 28, 28)
    assert mnist.train_inputs.values.min().item() == pytest.approx((0 - 0.1307) / 0.3081)
    assert mnist.train_inputs.values.max().item() == pytest.approx((1 - 0.1307) / 0.3081)
    counts = mnist.train_labels.bincount(minlength=10)
    assert counts.min() > 80  # stratified


def write_idx(path: Path, array: np.ndarray) -> None:
    """A file in MNIST's format: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_fashion_mnist_is_read_and_normalised(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST/raw"
    for part, size in (("train", 40), ("t10k", 20)):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.full((size, 28, 28), 255))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(size) % 10)
    own = data(dataset="fmnist", data_dir=str(tmp_path))
    assert own.train_inputs.values.shape == (40, 1, 28, 28)
    assert own.train_inputs.values.unique().item() == pytest.approx((1 - 0.286) / 0.353)
    assert own.test_labels.tolist() == [i % 10 for i in range(20)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"train-labels": np.arange(39) % 10}, "40 training inputs, but 39 labels"),
        ({"t10k-labels": np.full(20, 12)}, "a test label is 12, but labels are .* from 0 to 9"),
        ({"train-images": np.zeros((40, 7, 7))}, r"shape \[1, 7, 7\], test inputs \[1, 28, 28\]"),
    ],
)
def test_files_of_images_that_do_not_fit(
    tmp_path: Path, damage: dict[str, np.ndarray], message: str
) -> None:
    arrays = {
        "train-images": np.zeros((40, 28, 28)), "train-labels": np.arange(40) % 10,
        "t10k-images": np.zeros((20, 28, 28)), "t10k-labels": np.arange(20) % 10,
    } | damage  # fmt: skip
    for name, array in arrays.items():
        write_idx(tmp_path / f"FashionMNIST/raw/{name}-idx{array.ndim}-ubyte", array)
    with pytest.raises(UserError, match=message):
        data(dataset="fmnist", data_dir=str(tmp_path))


def test_absent_data_that_cannot_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    with pytest.raises(UserError, match=r"nor be downloaded to it .*no network"):
        data(dataset="mnist", data_dir=str(tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


def test_another_edition_of_a_data_set_is_another_identity(data_dir: Path, tmp_path: Path) -> None:
    shorter = ControlledConfig(dataset="mnist", model_type="mlp", data_dir=str(data_dir))
    official = ControlledConfig(
        dataset="mnist", model_type="mlp", data_dir=str(tmp_path)
    )  # to be downloaded
    assert shorter.identity()["data_edition"]
    assert official.identity()["data_edition"] is None


def test_an_edited_file_of_a_published_data_set_is_another_identity(
    data_dir: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for archive in (data_dir / "mnist_full/MNIST/raw").glob("*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    assert data_edition("mnist", str(tmp_path)) is None
    labels = raw / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x07")
    edited = data_edition("mnist", str(tmp_path))
    (raw / "notes.txt").touch()  # nothing that is read
    assert edited is not None
    assert data_edition("mnist", str(tmp_path)) == edited


def test_every_file_of_a_data_set_counts(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    editions = set()
    for name in ("data_batch_1", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(name.encode())
        editions.add(data_edition("cifar10", str(tmp_path)))
    assert len(editions - {None}) == 3


@pytest.mark.parametrize("seed", range(40))
def test_a_subset_and_later_draws_are_scikit_learns(seed: int) -> None:
    from sklearn.model_selection import train_test_split

    chance = np.random.RandomState(seed)
    counts = chance.randint(2, 30, chance.randint(1, 8))
    labels = chance.permutation(np.repeat(np.arange(len(counts)) * 3, counts))
    for size in range(len(counts), len(labels) - len(counts) + 1, 5):
        np.random.seed(seed)
        expected, _ = train_test_split(range(len(labels)), train_size=size, stratify=labels)
        later = np.random.random()
        np.random.seed(seed)
        assert stratified_subset(labels, size).tolist() == expected
        assert np.random.random() == later


def test_the_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pool, cpu = IMAGES["digits"](""), torch.device("cpu")
    assert torch.cat([pool.train_labels, pool.test_labels]).tolist() == labels.tolist()
    parts = [
        take(torch.arange(len(own)), cpu).gather(torch.arange(len(own)))
        for take, own in ((pool.take_train, pool.train_labels), (pool.take_test, pool.test_labels))
    ]
    inputs = torch.cat([part for part in parts if isinstance(part, torch.Tensor)])
    expected = (torch.from_numpy(images).view(-1, 1, 8, 8) / 16 - 0.3053) / 0.3760
    torch.testing.assert_close(inputs.double(), expected, rtol=1e-5, atol=1e-6)
