"""Where the runs of a plan stand."""

from __future__ import annotations

import pytest

from common.plan import identity as run_identity
from tests.common.plans import toy
from tests.conftest import TOY, Workplace


def test_runs_whose_fingerprints_begin_alike_have_folders_of_their_own(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_identity.fingerprint
    monkeypatch.setattr(run_identity, "fingerprint", lambda content: f"{0:08x}{whole(content)[8:]}")
    pair = [toy(experiment_name="same", lr=lr) for lr in (0.1, 0.2)]
    plan = workplace.write_plan(experiment=TOY, configurations=pair)
    workplace.run_plan(plan)
    first, second = (folder.path for folder in workplace.folders())
    assert (len(first.name), len(second.name)) == (len("same-") + 8, len("same-") + 16)
    before = [folder.read_status() for folder in workplace.folders()]
    # In the other order, and alone, each finds its own.
    for configurations in (pair[::-1], pair[1:], pair[:1]):
        again = workplace.write_plan(experiment=TOY, configurations=configurations)
        assert workplace.run_plan(again).status == 0
        assert [folder.read_status() for folder in workplace.folders()] == before
