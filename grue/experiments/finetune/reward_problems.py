"""Problems of a reward that lacks what the algorithm asks of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from common.config.resolve import resolve_valid_keys
from common.custom.user_code import CUSTOM
from common.errors import Problem, UserError
from grue.algorithms.args.group_advantages import GroupAdvantageArgs
from grue.algorithms.args.rejection_sampling import RejectionSamplingArgs
from grue.algorithms.config import ReinforcementAlg
from grue.rewards.config import RewardConfig


def problems_of_reward(alg: ReinforcementAlg, reward: RewardConfig) -> Iterator[Problem]:
    """Yield the problems of a reward without standard deviations, parts, or right outputs."""
    with contextlib.suppress(UserError):  # an unknown reward, which is told elsewhere
        yield from _without_std(alg, reward)
        yield from _without_part(alg, reward)
        yield from _without_right_outputs(alg, reward)
        yield from _beyond_threshold(alg, reward)


def _without_std(alg: ReinforcementAlg, reward: RewardConfig) -> Iterator[Problem]:
    """Yield the problem of a reward without standard deviations, if they are needed."""
    if alg.rollout_spec.needs_reward_stds and not reward.find(reward.id).gives_std():
        yield Problem(f"the reward '{reward.id}' has no standard deviation of its own; take "
                      "'learned_preference', or settings that do not ask for it (such as "
                      "'advantage_regularization' = \"none\")", "alg.args")  # fmt: skip


def _without_part(alg: ReinforcementAlg, reward: RewardConfig) -> Iterator[Problem]:
    """Yield the problem of a reward that lacks the part which decides on silent groups."""
    name = alg.rollout_spec.groups.silent_by
    if name is None:
        return
    kind = reward.find(reward.id)
    args, _ = resolve_valid_keys(kind.Args, reward.args)
    if args is None:  # which is told elsewhere
        return
    names = kind.names_of_parts(args)
    if name in names:
        return
    known = (
        f"its parts are {', '.join(map(repr, names))}"
        if names
        else f"'{reward.id}' has no parts; take 'weighted_sum', or drop it"
    )
    yield Problem(f"names no part of 'reward_fn': {known}", "alg.args.silent_by", name)


def _without_right_outputs(alg: ReinforcementAlg, reward: RewardConfig) -> Iterator[Problem]:
    """Yield the problem of a best reward that is not the largest, or of none that is known.

    No output would be right, such as with a sum of rewards whose largest is 1.1. A user's own
    reward may give right outputs whatever it likes.
    """
    args, name = alg.args, reward.id
    if not isinstance(args, GroupAdvantageArgs) or not args.knows_right or name.startswith(CUSTOM):
        return
    kind = reward.find(name)
    known, _ = resolve_valid_keys(kind.Args, reward.args)
    if known is None:  # which is told elsewhere
        return
    largest = kind.largest_of(known, args.silent_by)
    if largest is None and args.judges_rewards:
        yield Problem("the algorithm needs a reward of right and wrong outputs, such as "
                      "'exact_answer', for 'alg.args.advantage' = 'right_or_wrong' or "
                      "'zero_std_groups' = 'entropy_shaped'", "reward_fn.id", name)  # fmt: skip
    if largest is None or math.isclose(largest, args.best_reward):
        return
    called, or_part = args.silent_by or name, ""
    if called == name and kind.names_of_parts(known):
        or_part = ", or a part of it as 'alg.args.silent_by', such as correctness"
    yield Problem(f"the largest reward of '{called}' is {largest:g}; give that{or_part}",
                  "alg.args.best_reward", args.best_reward)  # fmt: skip


def _beyond_threshold(alg: ReinforcementAlg, reward: RewardConfig) -> Iterator[Problem]:
    """Yield the problem of a threshold of right outputs that no reward reaches."""
    args = alg.args
    if not isinstance(args, RejectionSamplingArgs) or args.select != "right":
        return
    kind = reward.find(reward.id)
    known, _ = resolve_valid_keys(kind.Args, reward.args)
    largest = None if known is None else kind.largest_of(known)
    if largest is None or args.reward_threshold <= largest:
        return
    if not math.isclose(args.reward_threshold, largest):
        yield Problem(f"no output would be learned, since the largest reward of '{reward.id}' is "
                      f"{largest:g}; lower it", "alg.args.reward_threshold",
                      args.reward_threshold)  # fmt: skip
