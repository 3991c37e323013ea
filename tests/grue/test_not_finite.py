"""Training that loses its numbers fails where it does, and keeps the last finite state."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.training import checkpoint
from grue.parts.user_function import of_columns, scores_of
from grue.rl.nan_checks import check_measured
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.test_finetune import finetuning, rows_of
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce", "a2c"])
def test_reinforcement_fails_at_the_iteration(
    workplace: Workplace, model: Path, algorithm: str
) -> None:
    run = reinforcement(model, algorithm, alg__args__learning_rate=1e30)
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    status = folder.read_status()
    assert status["status"] == "failed"
    steps = [row["step"] for row in rows_of(folder)]
    assert status["reason"].startswith(f"iteration {steps[-1] + 1}: ")
    assert "lower 'alg.args.learning_rate'" in status["reason"]
    assert not (folder.path / "model").exists()


def test_the_last_finite_checkpoint_is_kept(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are spoilt after an update that was well."""
    from grue.algorithms.reinforce import Reinforce

    update = Reinforce.update

    def spoiling(self: Reinforce, *args: object) -> dict[str, float]:
        found = update(self, *args)  # type: ignore[arg-type]
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 3:
            with torch.no_grad():
                next(iter(self.actor_critic.parameters())).view(-1)[5] = math.nan
        return found

    monkeypatch.setattr(Reinforce, "update", spoiling)
    run = reinforcement(model, "reinforce", train_evaluation__save_every=1)
    monkeypatch.setattr("common.training.checkpoint_interval.Pace.is_due", lambda *_, **__: True)
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    reason = folder.read_status()["reason"]
    assert "iteration 3: 'policy." in reason
    assert "checkpoints/last.pt keeps the finite weights after 2 iterations" in reason
    state = checkpoint.load_last(folder.checkpoints)
    assert state is not None and state["iteration"] == 2


def test_supervised_weights_that_are_not_finite_are_no_result(
    workplace: Workplace, model: Path
) -> None:
    """The loss of the last step is from before it: no log line tells."""
    run = finetuning(model, alg__training_args__learning_rate=1e30,
                     alg__training_args__max_steps=3,
                     alg__training_args__logging_strategy="no")  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    reason = folder.read_status()["reason"]
    assert "not finite; lower 'alg.training_args.learning_rate'" in reason
    assert not list(folder.checkpoints.glob("checkpoint-*"))


def test_losses_and_norms_must_be_finite_but_for_steps_that_are_left_out() -> None:
    check_measured({"a/loss": 1.0, "explained_variance": math.nan}, "iteration 1", "mend it")
    with pytest.raises(UserError, match="iteration 1: 'a/policy_gradient_loss' = nan; mend it"):
        check_measured({"a/policy_gradient_loss": math.nan}, "iteration 1", "mend it")
    with pytest.raises(UserError, match="'a/grad_norm' = inf"):
        check_measured({"a/grad_norm": math.inf}, "iteration 1", "mend it")
    skipped = {"a/grad_norm": math.inf, "mixed_precision/skipped_steps": 1.0}
    check_measured(skipped, "iteration 1", "mend it")
    with pytest.raises(UserError, match="'a/grad_norm' = inf"):
        check_measured(skipped | {"mixed_precision/skipped_steps": 0.0}, "it", "mend it")


def test_rewards_must_be_finite_in_float32_too() -> None:
    texts = Texts(["p", "q"], ["a", "b"], [(), ()], [{}, {}])

    def huge(prompts: list[str], outputs: list[str], *_: object) -> list[float]:
        return [-1e39 if output == "b" else 3e38 for output in outputs]

    with pytest.raises(UserError, match=r"gave -1e\+39, which is infinite in float32, for .*'b'"):
        scores_of(of_columns(huge), texts, per_token=False, name="huge")
