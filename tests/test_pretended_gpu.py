"""Every kind of run on a pretended GPU: devices are never mixed, and the host waits rarely."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from filelock import FileLock

from tests.conftest import PROJECT

Found = dict[str, dict[str, Any]]

SLOW = pytest.mark.slow
KINDS = pytest.mark.parametrize("kind", ["gpt2", pytest.param("t5", marks=SLOW)])
_FEW = (
    "gpt2: decoding",
    "gpt2: shaping",
    "gpt2: nlpo",
    "gpt2: extracting, own",
    "supervised, gpt2",
)
"""Text runs of each kind, which take some seconds together."""
_ALL = ("gpt2", "t5", "supervised", "reward model")
_FEW_CONTROLLED = ("controlled: mlp", "classifier")
_ALL_CONTROLLED = ("controlled", "classifier")
_TOGETHER = ("device", *_FEW, *_FEW_CONTROLLED)
"""What one process makes for all tests that are not slow: half its time it loads libraries."""
_METHODS = ("expected_reinforce", "reinforce", "supervised")
_DECODED_PER_WAIT = 16
_WAITS_PER_EPOCH = 2
_WAITS_PER_MINIBATCH = 2
_WAITS_PER_BATCH = 3


def _process(*names: str) -> Found:
    """What a process found that makes these kinds of run, each named wholly or by its beginning."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.pretended_gpu", *names],
        cwd=PROJECT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def _found(folders: pytest.TempPathFactory, *names: str) -> Found:
    """What `_process` finds, once for all workers of pytest."""
    base = folders.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = _TOGETHER if set(names) <= set(_TOGETHER) else names
    path = shared / f"pretended_{made[0]}.json"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            path.write_text(json.dumps(_process(*made)))
    found: Found = json.loads(path.read_text())
    return {name: moments for name, moments in found.items() if name.startswith(names)}


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return _found(tmp_path_factory, "device")


@dataclass
class Runs:
    """What was found of runs, by kind; a few kinds are made without the others."""

    folders: pytest.TempPathFactory
    few: tuple[str, ...]
    all: tuple[str, ...]

    def of(self, *names: str) -> Found:
        return _found(self.folders, *names)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.of(*(self.few if name.startswith(self.few) else self.all))[name]


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory, _FEW_CONTROLLED, _ALL_CONTROLLED)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory, _FEW, _ALL)


def _count(waits: dict[str, Any]) -> int:
    return sum(wait["count"] for wait in waits["waits"])


def _told(waits: dict[str, Any]) -> str:
    """The waits by place, for a message."""
    rows = [f"{each['count']:5d} {each['kind']}, {each['place']}" for each in waits["waits"]]
    return "\n".join(["", *rows])


def test_tensors_of_two_devices_are_refused_with_operation_and_place(device: Found) -> None:
    assert device["device: mixed"]["error"].strip().splitlines()[-1].startswith(
        "tests.pretended_gpu.device.MixedDevices: add at tests/pretended_gpu/device_runs.py:"
    )  # fmt: skip
    assert "error" in device["device: mixed, written"]
    assert "error" in device["device: mixed, one number"]


@pytest.mark.parametrize("name", ["item", "boolean index", "index of the host", "mask of the host",
                                  "blocking copy", "nonzero", "repeats", "unique", "to the host",
                                  "tolist", "backward"])  # fmt: skip
def test_a_wait_is_counted_where_it_happens(device: Found, name: str) -> None:
    waits = device["device: waits"][name]
    assert _count(waits) == 1, _told(waits)
    assert waits["waits"][0]["place"].startswith("tests/pretended_gpu/device_runs.py:")
    assert waits["waits"][0]["place"].endswith(f" {name.replace(' ', '_')}")


@pytest.mark.parametrize(
    "name",
    ["async copy", "pinned copy", "nothing copied", "mask filled", "index", "one number", "known"],
)
def test_what_goes_on_without_a_wait_is_not_counted(device: Found, name: str) -> None:
    waits = device["device: no waits"][name]
    assert _count(waits) == 0, _told(waits)
    assert waits["copies"] == (name in ("async copy", "pinned copy"))


def test_mixed_precision_narrows_products_alone(device: Found) -> None:
    assert "error" not in device["device: narrow"], device["device: narrow"]["error"]


@pytest.mark.parametrize(
    ("names", "least"), [(_FEW_CONTROLLED, 4), pytest.param(_ALL_CONTROLLED, 6, marks=SLOW)]
)
def test_no_devices_are_mixed_in_controlled_runs(
    controlled: Runs, names: tuple[str, ...], least: int
) -> None:
    _check_errors(controlled.of(*names), least)


@pytest.mark.parametrize(("names", "least"), [(_FEW, 5), pytest.param(_ALL, 42, marks=SLOW)])
def test_no_devices_are_mixed_in_text_runs(texts: Runs, names: tuple[str, ...], least: int) -> None:
    _check_errors(texts.of(*names), least)


def _check_errors(found: Found, least: int) -> None:
    assert len(found) >= least
    errors = {name: moments["error"] for name, moments in found.items() if "error" in moments}
    assert not errors, "\n".join(f"{name}: {error}" for name, error in errors.items())
    assert all(waits["operations"] for moments in found.values() for waits in moments.values())


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize(
    "kind", ["mlp", *(pytest.param(kind, marks=SLOW) for kind in ("resnet18", "bert", "sweep"))]
)
def test_waits_of_a_controlled_epoch(controlled: Runs, kind: str, method: str) -> None:
    """One for the metrics of training and one for those of validation."""
    for batches in (2, 4):
        waits = controlled[f"controlled: {kind}"][f"{method}, {batches} batches"]
        assert _count(waits) <= _WAITS_PER_EPOCH, _told(waits)


@pytest.mark.parametrize("ends", ["33", "0"])
@KINDS
def test_waits_of_decoding(texts: Runs, kind: str, ends: str) -> None:
    """Beside those of an output of one token."""
    found = texts[f"{kind}: decoding"]
    short, long = found["1 to 1 tokens"], found[f"{ends} to 33 tokens"]
    assert long["steps"] > _DECODED_PER_WAIT
    most = math.ceil(long["steps"] / _DECODED_PER_WAIT)
    assert _count(long) - _count(short) <= most, _told(long)


@KINDS
def test_the_librarys_processors_add_no_wait_per_token(texts: Runs, kind: str) -> None:
    short, long = (texts[f"{kind}: shaping"][f"{length} tokens"] for length in (5, 15))
    assert _count(long) <= _count(short), _told(long)


@pytest.mark.parametrize(
    "algorithm",
    [
        "nlpo",
        *(pytest.param(name, marks=SLOW) for name in ("ppo", "ppo_human_preferences", "grpo")),
    ],
)
@KINDS
def test_waits_of_a_minibatch(texts: Runs, kind: str, algorithm: str) -> None:
    found = texts[f"{kind}: {algorithm}"]
    few, many = found["update"], found["update, small minibatches"]
    more = many["steps"] - few["steps"]
    assert more > 0
    assert _count(many) - _count(few) <= _WAITS_PER_MINIBATCH * more, _told(many)


@KINDS
def test_waits_of_extraction(texts: Runs, kind: str) -> None:
    """Those of a batch beside its decoding, of six tokens and so one wait more."""
    found = texts[f"{kind}: extracting, own"]
    few, many = found["2 batches"], found["5 batches"]
    more = many["steps"] - few["steps"]
    assert _count(many) - _count(few) <= (_WAITS_PER_BATCH + 1) * more, _told(many)


@pytest.mark.parametrize("name", ["supervised, gpt2"] + [
    pytest.param(name, marks=SLOW)
    for name in ("supervised, t5", "reward model, best_of_n", "reward model, scalar_rating",
                 "reward model, probabilistic")
])  # fmt: skip
def test_a_step_of_the_trainer_does_not_wait(texts: Runs, name: str) -> None:
    for waits in texts[name].values():
        assert not _in_steps(waits), _told(waits)


def test_a_step_of_a_classifier_does_not_wait(controlled: Runs) -> None:
    for waits in controlled["classifier"].values():
        assert not _in_steps(waits), _told(waits)


def _in_steps(waits: dict[str, Any]) -> list[str]:
    """The places of waits within a step of training."""
    inside = (" training_step", " compute_loss", " forward", "_log_probability_rated_higher")
    places = [wait["place"] for wait in waits["waits"]]
    return [place for place in places if place.endswith(inside)]


@pytest.mark.parametrize("name", ["classifier", "preference"])
def test_a_judge_waits_once_however_many_batches_it_reads(controlled: Runs, name: str) -> None:
    waits = controlled["classifier: judges"][name]
    assert _count(waits) == 1, _told(waits)
