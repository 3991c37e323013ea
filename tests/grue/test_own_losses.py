"""Policy losses and aggregations of users' own: DAPO's of the page on own parts, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import UserError
from grue.experiments.finetune.config import FinetuneConfig
from grue.rl.aggregation import token_weights
from grue.rl.policy_losses import token_losses
from tests.conftest import Workplace
from tests.docs.test_examples import own_parts
from tests.grue.conftest import save_model, write
from tests.grue.test_critic_free import keys_of
from tests.grue.test_reinforcement import reinforcement, rows_of

HERE = "custom:tests.grue.test_own_losses"


def one_number(log_probs, ratios, advantages, clip_range, clip_range_high):  # type: ignore[no-untyped-def]
    return -(ratios * advantages).mean()


def broken(log_probs, ratios, advantages, clip_range, clip_range_high):  # type: ignore[no-untyped-def]
    raise ZeroDivisionError("of my own")


def as_array(log_probs, ratios, advantages, clip_range, clip_range_high):  # type: ignore[no-untyped-def]
    return log_probs.detach().numpy()


def constant(log_probs, ratios, advantages, clip_range, clip_range_high):  # type: ignore[no-untyped-def]
    return -(ratios * advantages).detach()


def of_two(log_probs, advantages):  # type: ignore[no-untyped-def]
    return -advantages * log_probs


def of_responses(lengths, longest):  # type: ignore[no-untyped-def]
    return 1 / lengths.sum(1)


def test_the_loss_of_the_page_is_that_of_dapo(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, _, own, _ = own_parts(workplace.path, monkeypatch)
    model = save_model(tmp_path / "model", tokenizer)
    keys = {"num_samples_per_input": 4, "num_minibatches": 2, "n_epochs": 2,
            "overlong_buffer": 2, "learning_rate": 0.02}  # fmt: skip
    args: dict[str, Any] = {f"alg__args__{key}": value for key, value in keys.items()}
    args |= {"train_evaluation__n_iters": 2, "train_evaluation__metrics": []}
    named = {f"alg__args__{key}": value for key, value in own["alg"]["args"].items()}
    runs = [reinforcement(model, own["alg"]["id"], experiment_name=name, **args, **more)
            for name, more in {"built_in": {}, "own": named}.items()]  # fmt: skip
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 0, outcome.err
    built_in, of_own = workplace.folders()
    losses = [[row["policy/loss"] for row in rows_of(folder)[1:3]] for folder in (built_in, of_own)]
    assert losses[0] == losses[1] and any(losses[0])
    sources = [json.loads(each.status.read_text())["sources"] for each in (built_in, of_own)]
    assert sources[1].keys() - sources[0].keys() == {"my_dapo.py"}


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("policy_loss", f"{HERE}:of_two",
         "write def of_two(log_probs, ratios, advantages, clip_range, clip_range_high)"),
        ("policy_loss", f"{HERE}:clippd", "has no 'clippd'"),
        ("policy_loss", "clippd", "did you mean 'clipped'?; known: reinforce, clipped, cispo"),
        ("aggregate", f"{HERE}:one_number", "write def one_number(lengths, longest)"),
        ("aggregate", "token_sum", "known: token_mean,"),
        ("aggregate", 3, "known: token_mean,"),
    ],
)  # fmt: skip
def test_other_names_and_functions_are_refused(key: str, name: Any, message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of("grpo", **{f"alg__args__{key}": name}))
    (problem,) = map(str, problems)
    assert message in problem and f"alg.args.{key}" in problem


def test_results_of_another_shape_and_errors_name_the_function() -> None:
    values = torch.ones(2, 3)
    of_tokens = (values, values, values, (0.2, 0.2))
    with pytest.raises(UserError, match=r"one_number' returned numbers of shape \[\]; .*\[2, 3\]"):
        token_losses(f"{HERE}:one_number", *of_tokens)
    with pytest.raises(UserError, match=r"broken' raised ZeroDivisionError: of my own .*line"):
        token_losses(f"{HERE}:broken", *of_tokens)
    with pytest.raises(UserError, match=r"as_array' returned ndarray; .*\[2, 3\]"):
        token_losses(f"{HERE}:as_array", *of_tokens)
    with pytest.raises(UserError, match=r"of_responses' returned numbers of shape \[2\]"):
        token_weights(f"{HERE}:of_responses", torch.ones(2, 4), 9)


def test_a_loss_without_a_gradient_is_refused() -> None:
    log_probs = torch.ones(2, 3, requires_grad=True)
    of_tokens = (log_probs, log_probs.exp(), torch.ones(2, 3), (0.2, 0.2))
    with pytest.raises(UserError, match="constant' returned a loss without a gradient"):
        token_losses(f"{HERE}:constant", *of_tokens)
    assert token_losses("clipped", *of_tokens).requires_grad
    with torch.no_grad():
        assert (token_losses(f"{HERE}:constant", *of_tokens) == -log_probs.exp()).all()
