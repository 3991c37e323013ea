"""The supervised loss beside that of rewards: gradients, denominators, random numbers, labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.supervised.reference_loss import ReferenceLoss
from grue.supervised.rows import collate, make_rows
from grue.tasks.task import Sample
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.exact import Subject
from tests.grue.parts import ANIMALS, EVEN
from tests.grue.test_critic_free import Same, keys_of, rewarded, updated
from tests.grue.test_reinforcement import reinforcement, rows_of

SAMPLES = [
    Sample("0", "b", ("a c",)),
    Sample("1", "a c a", ("b", "c a b a")),
    Sample("2", "c", ("a b c",)),
]
SILENT = {"kl": {"coeff": 0.0}, "num_minibatches": 1}


def labelled(samples: Sequence[Sample] = SAMPLES, **args: Any) -> Subject:
    """A policy whose rewards push nothing, with references of all rows in each step."""
    subject = rewarded(Same, **{"sft_coeff": 0.3, **SILENT, **args})
    args_of = subject.algorithm.args
    subject.algorithm.supervised = ReferenceLoss(subject.policy, samples, args_of)
    return subject


def assert_equal_but_for_rounding(found: Tensor, expected: Tensor) -> None:
    """Each number of a float32 gradient is rounded as its largest ones are."""
    assert float((found - expected).norm()) < 5e-6 * float(expected.norm())


def of_supervised_finetuning(subject: Subject, samples: Sequence[Sample] = SAMPLES) -> Tensor:
    """[P] the gradient of the library's loss on all rows."""
    policy = subject.policy
    kind: Any = "seq2seq" if policy.is_encoder_decoder else "causal"
    rows = make_rows(samples, policy.tokenizer, kind, limit=32, append_eos=True, mask_prompt=True)
    weights = list(policy.model.parameters())
    loss = policy.model(**collate(list(rows.rows), pad_token=0)).loss
    parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("seq2seq", [False, True])
def test_without_other_pushes_the_gradient_is_that_of_supervised_finetuning(seq2seq: bool) -> None:
    subject = labelled(seq2seq=seq2seq)
    expected = 0.3 * of_supervised_finetuning(subject)
    (gradient,), found = updated(subject)
    assert_equal_but_for_rounding(gradient, expected)
    assert expected.norm() > 1e-3
    (parts,), of_parts = updated(labelled(seq2seq=seq2seq, micro_batch_size=3))
    assert_equal_but_for_rounding(parts, gradient)
    assert of_parts["policy/sft_loss"] == pytest.approx(found["policy/sft_loss"], rel=1e-5)


def test_it_adds_to_the_loss_of_rewards() -> None:
    (both,), _ = updated(labelled(kl={"coeff": 0.1}))
    (alone,), _ = updated(rewarded(Same, **{**SILENT, "kl": {"coeff": 0.1}}))
    subject = labelled()
    assert_equal_but_for_rounding(both - alone, 0.3 * of_supervised_finetuning(subject))


def test_a_step_whose_groups_are_all_dropped_learns_references() -> None:
    subject = labelled(zero_std_groups="drop")
    (gradient,), found = updated(subject)
    assert_equal_but_for_rounding(gradient, 0.3 * of_supervised_finetuning(subject))
    assert found["policy/grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-4)


def test_steps_draw_other_references_and_move_no_other_random_number() -> None:
    steps, _ = updated(labelled(num_minibatches=2, n_epochs=2, sft_batch_size=1))
    assert len(steps) == 4
    assert len({round(float(step.norm()), 6) for step in steps}) > 1
    again, _ = updated(labelled(num_minibatches=2, n_epochs=2, sft_batch_size=1))
    torch.testing.assert_close(steps, again, rtol=0, atol=0)
    halved, _ = updated(labelled(num_minibatches=2, kl={"coeff": 0.1}))
    without, _ = updated(rewarded(Same, num_minibatches=2, kl={"coeff": 0.1}))
    added = 0.3 * of_supervised_finetuning(labelled())
    for one, other in zip(halved, without, strict=True):
        assert_equal_but_for_rounding(one - other, added)


def test_labelled_inputs_are_a_fixed_draw() -> None:
    found = {
        seed: {
            tuple(row["input_ids"])
            for row in labelled(sft_samples=1, sft_seed=seed).algorithm.supervised._rows.rows
        }
        for seed in range(8)
    }
    assert {len(rows) for rows in found.values()} == {1, 2}, "all references of one input"
    assert len(set(map(frozenset, found.values()))) > 1


def test_a_number_of_labelled_inputs_needs_a_coefficient() -> None:
    _, problems = resolve(FinetuneConfig, keys_of("grpo", alg__args__sft_samples=4))
    (problem,) = map(str, problems)
    assert "'sft_coeff' = 0 leaves the supervised loss out" in problem


def test_a_run_learns_references_and_refuses_a_task_without(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(tmp_path / "model", tokenizer)
    args = {"num_samples_per_input": 2, "num_minibatches": 1, "sft_coeff": 1.0,
            "sft_samples": 10, "learning_rate": 0.01}  # fmt: skip
    keys: dict[str, Any] = {f"alg__args__{key}": value for key, value in args.items()}
    keys |= {"train_evaluation__n_iters": 8, "train_evaluation__eval_every": 20,
             "train_evaluation__metrics": [], "reward_fn__id": EVEN}  # fmt: skip
    bare = reinforcement(model, "grpo", datapool__id=ANIMALS, datapool__args__references=False,
                         **keys)  # fmt: skip
    found = workplace.run_plan(write(workplace, bare))
    assert found.status != 0
    assert "'alg.args.sft_coeff' = 1.0" in found.err and "has a reference" in found.err
    runs = [
        reinforcement(model, "grpo", experiment_name="full", **keys),
        reinforcement(model, "grpo", experiment_name="lora", **keys, alg__policy__lora={"r": 4}),
    ]
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    for folder in workplace.folders():
        assert {row["elapsed/labels"] for row in rows_of(folder)[1:-1]} == {10}
        losses = [row["policy/sft_loss"] for row in rows_of(folder)[1:-1]]
        assert losses[-1] < (0.9 if "full" in folder.path.name else 1) * losses[0]
