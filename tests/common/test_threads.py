"""How idle threads wait: as the user says, otherwise they spin shortly."""

from __future__ import annotations

import pytest

from common.process.threads import waiting_of
from common.runner.scheduling.worker_process import worker_environment

_NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def test_threads_spin_for_a_moment_before_they_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    assert {name: worker_environment([], 1)[name] for name in _NAMES} == waiting_of({})
    assert waiting_of({})["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize(
    "own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "infinite"}], ids=_NAMES
)
def test_users_own_way_to_wait_stands(monkeypatch: pytest.MonkeyPatch, own: dict[str, str]) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    found = worker_environment([], 1)
    assert {name: found[name] for name in _NAMES if name in found} == own
