"""Minibatches of rollouts: what is taken of each token, in which columns, and by which rank."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from common import distributed
from grue.policies.policy import Policy
from grue.rl.token_positions import chosen, first_tokens, places, put_back
from grue.rollouts.batch import Rollout, Unit
from grue.rollouts.minibatch import Minibatch
from tests.grue.test_rollouts import PROMPTS

KNOWN = ("log_probs", "ref_log_probs", "values", "returns", "advantages",
         "kl_advantages", "task_advantages")  # fmt: skip
UNITS: list[Unit] = ["outputs", "tokens"]


@pytest.fixture
def rollout(policy: Policy) -> Rollout:
    """Of outputs of many lengths, one of which is cut and the last one not used at all."""
    torch.manual_seed(0)
    lengths = [1, 1, 2, 1, 8, 3, 2, 7, 6, 1, 5, 4, 3, 8, 6, 2]
    outputs = [torch.randint(1, 200, (length,)).tolist() for length in lengths]
    prompts = policy.encode(PROMPTS * 4, 20)
    sequences = policy.sequences(prompts, outputs)
    mask = sequences.outputs.mask.bool()
    known = {field.name: torch.rand(mask.shape) for field in dataclasses.fields(Rollout)
             if field.name in (*KNOWN, "kl", "task_rewards", "rewards")}  # fmt: skip
    return Rollout(prompts=prompts, outputs=outputs, sequences=sequences, response_mask=mask,
                   num_used=torch.tensor([*lengths[:14], 3, 0]), longest=8, **known)  # fmt: skip


def passed(rollout: Rollout, unit: Unit) -> list[Minibatch]:
    """One pass of minibatches of about 8 tokens."""
    found = list(rollout.minibatches(8, torch.Generator().manual_seed(0), unit))
    assert len(found) > 3
    return found


def where(batch: Minibatch) -> tuple[Tensor, Tensor]:
    """[M] rows of the rollout and columns of a minibatch's tokens."""
    row, column = batch.loss_mask.nonzero(as_tuple=True)
    return batch.rows[row], column


@pytest.mark.parametrize("unit", UNITS)
def test_a_pass_has_every_used_token_once_with_what_is_known_of_it(
    rollout: Rollout, unit: Unit
) -> None:
    times = torch.zeros(rollout.response_mask.shape)
    for batch in passed(rollout, unit):
        place = where(batch)
        times[place] += 1
        for name in KNOWN:
            assert torch.equal(getattr(batch, name), getattr(rollout, name)[place]), name
        tokens = [rollout.outputs[row][column] for row, column in zip(*place, strict=True)]
        assert batch.tokens.tolist() == tokens
        grid = torch.arange(batch.loss_mask.numel()).view(batch.loss_mask.shape)
        assert torch.equal(batch.counted(grid), grid[batch.loss_mask])
    assert torch.equal(times.bool(), rollout.train_mask)
    assert times.max() == 1
    assert rollout.num_tokens == int(rollout.train_mask.sum())


@pytest.mark.parametrize("unit", UNITS)
def test_columns_are_those_of_the_longest_alone(
    policy: Policy, rollout: Rollout, unit: Unit
) -> None:
    widths = set()
    for batch in passed(rollout, unit):
        rows = batch.rows.tolist()
        alone = policy.sequences(
            [rollout.prompts[row] for row in rows], [rollout.outputs[row] for row in rows]
        )
        for of, expected in ((batch.sequences.prompts, alone.prompts),
                             (batch.sequences.outputs, alone.outputs)):  # fmt: skip
            assert torch.equal(of.ids, expected.ids) and torch.equal(of.mask, expected.mask)
        assert batch.loss_mask.shape == alone.outputs.ids.shape
        widths.add((alone.prompts.ids.shape[1], alone.outputs.ids.shape[1]))
    assert len(widths) > 1


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("num_ranks", [2, 20])
def test_ranks_parts_are_the_whole(
    rollout: Rollout, unit: Unit, num_ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: num_ranks)
    for batch in passed(rollout, unit):
        parts = []
        for number in range(num_ranks):
            monkeypatch.setattr(distributed, "rank", lambda number=number: number)
            parts.append(batch.of_this_rank())
        assert all(len(part.rows) == len(part.sequences.outputs.ids) for part in parts)
        assert all(part.weight == 0 or len(part) for part in parts)
        assert math.fsum(part.weight for part in parts) == pytest.approx(1)
        mine = [part for part in parts if part.weight]
        for part in mine:
            assert part.weight == len(part) / len(batch)
            assert torch.equal(part.counted(part.sequences.outputs.ids), part.tokens)
        for name in (*KNOWN, "tokens"):
            together = torch.cat([getattr(part, name) for part in mine])
            assert torch.equal(together, getattr(batch, name)), name


def test_what_is_taken_can_be_put_back() -> None:
    mask = first_tokens(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert places(mask).tolist() == [0, 1, 6, 7, 8]
    values = torch.rand(3, 3, 4)
    assert torch.equal(chosen(values, mask), values[mask])
    assert torch.equal(put_back(chosen(values[..., 0], mask), mask), values[..., 0] * mask)
