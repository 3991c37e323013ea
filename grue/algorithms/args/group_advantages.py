"""Settings of advantages from groups, and of groups whose rewards do not deviate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from common.config.base import LATER
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction
from grue.algorithms.args.group_filters import DifficultyBand, GroupFilter
from grue.algorithms.config import AlgorithmArgs
from grue.rl.tolerance import TOLERANCE
from grue.rollouts.group_rules import DrawMore, DrawUntil, GroupRules, InputFilter

Baseline = Literal[
    "group", "leave_one_out", "running_mean", "cumulative_mean", "right_or_wrong", "none"
]
Scale = Literal[
    "none", "group_std", "bare_group_std", "batch_std", "rollout_std", "group_mean", "unit"
]
ZeroStdGroups = Literal[
    "keep", "drop", "resample", "draw_more", "hint", "virtual_best", "entropy_shaped"
]

_GROUP_BASELINES = ("group", "leave_one_out")
_UNCENTRED = ("right_or_wrong", "none")
_KEYS_OF = {
    "running_mean_decay": ("advantage", "running_mean"),
    "max_resamples": ("zero_std_groups", "resample"),
    "round_size": ("zero_std_groups", "draw_more"),
    "max_rounds": ("zero_std_groups", "draw_more"),
    "draw_until": ("zero_std_groups", "draw_more"),
    "hint_share": ("zero_std_groups", "hint"),
    "entropy_alpha": ("zero_std_groups", "entropy_shaped"),
}
"""Keys that one value of another key reads alone."""


class GroupAdvantageArgs(AlgorithmArgs):
    """Advantages of outputs among those of their input, the group."""

    num_samples_per_input: PositiveInt = 8
    """Number of outputs, K, of each input, its group; ``env.n_envs`` is the number of inputs."""
    advantage: Baseline = "group"
    """Advantage of an output: its reward minus the mean of its group, the outputs of its input
    (``group``); minus the mean of the group's other outputs (``leave_one_out``); minus the
    exponential mean of earlier rollouts' rewards (``running_mean``), or the mean of all earlier
    outputs' (``cumulative_mean``); +1 for ``best_reward`` and -1 for less (``right_or_wrong``, PSR
    and NSR, arXiv 2506.01347); or the rewards from each token on (``none``). With the last two a
    token has the penalties from it on."""
    running_mean_decay: Annotated[Fraction, LATER] = 0.9
    """Decay of ``running_mean`` per rollout."""
    advantage_scale: Scale = "none"
    """Divisor of advantages: none; the std of the group's rewards, less one degree of freedom, plus
    1e-4 (``group_std``) or not (``bare_group_std``); the std of all centred rewards (``batch_std``,
    arXiv 2510.13786) or of all as they are (``rollout_std``, arXiv 2604.25872); the group's mean
    reward, for rewards from 0 up (``group_mean``, arXiv 2602.02710); or the rollout's advantages
    get mean 0 and std 1 over tokens (``unit``), which alone divides penalties in rewards, too."""
    positive_weight: Annotated[NonNegativeFloat, LATER] = 1.0
    """Factor of the task's part of advantages above 0; with ``right_or_wrong``, 0.1 is
    W-REINFORCE, and 0 learns from wrong outputs alone (arXiv 2506.01347)."""
    negative_weight: Annotated[NonNegativeFloat, LATER] = 1.0
    """Factor of the task's part of advantages below 0."""
    zero_std_groups: ZeroStdGroups = "keep"
    """Treatment of groups whose task rewards do not deviate, the silent ones:

    ``keep`` gives them a task part of exactly 0 in the advantages of ``group`` and
    ``leave_one_out``, and keeps their penalties. ``drop`` leaves them out of the update, with their
    KL and entropy losses, which saves their passes. ``resample`` draws batches of other inputs
    until ``env.n_envs`` groups deviate; if they never do, silent ones fill up the rest (DAPO).
    ``draw_more`` draws outputs of the same inputs in rounds, keeps a balanced group, and takes the
    mean of all drawn as the baseline (Reinforce-Ada, arXiv 2510.04996, published with
    ``num_samples_per_input`` 4 and ``advantage_scale`` ``none``). ``hint`` draws a group without a
    right output once more, with the beginning of its first reference behind the prompt, which
    rewards read as part of the output and the loss does not (GHPO, arXiv 2507.10628); rewards of
    the hint's own tokens are left out.
    ``virtual_best`` takes mean and std of every group with one imagined ``best_reward``, so that
    groups of equal lower rewards are pushed down (NGRPO, arXiv 2509.18851, published with
    ``clip_range`` 0.16 and ``clip_range_high`` 0.24). ``entropy_shaped`` gives tokens of silent
    groups advantages by the entropy H of their distribution: alpha H where all outputs are right,
    and -alpha (largest H of the output - H) where all are wrong (RL-ZVP, arXiv 2509.21880)."""
    entropy_alpha: Annotated[PositiveFloat, LATER] = 0.1
    """Factor alpha of ``entropy_shaped``, per nat; the best of the published 0.05, 0.1, 0.2 and
    0.3, the first and last of which were hardly better than no remedy (arXiv 2509.21880, table
    3)."""
    best_reward: float = 1.0
    """Largest possible reward, which is that of a right output."""
    max_resamples: PositiveInt = 10
    """Largest number of further batches that ``resample`` draws in an iteration."""
    round_size: Annotated[PositiveInt, LATER] = 8
    """Number of outputs that a round of ``draw_more`` draws of each input that takes part."""
    max_rounds: Annotated[PositiveInt, LATER] = 4
    """Largest number of rounds of ``draw_more`` in an iteration, the first one included."""
    draw_until: Annotated[DrawUntil, LATER] = "balanced"
    """End of an input's rounds of ``draw_more``: with K = ``num_samples_per_input``, that K // 2
    right and K - K // 2 wrong outputs are drawn (``balanced``), or one right output
    (``positive``)."""
    silent_by: Annotated[str | None, LATER] = None
    """Name of the part of the reward ``weighted_sum`` that decides whether a group deviates, such
    as correctness. Where it does not, the group is silent though other parts differ, and has a task
    part of exactly 0. None for the whole task reward."""
    solved_above: Annotated[Fraction | None, LATER] = None
    """Running pass rate from which on an input is not drawn again (ScaleRL, arXiv 2510.13786,
    published with 0.9); None draws all. The rate of an input is that of its first group, and then
    the mean of the former rate and of the next group's. When no input is left, all come back. An
    output passes where its reward, or the part ``silent_by``, is ``best_reward``."""
    difficulty_band: Annotated[DifficultyBand | None, LATER] = None
    """Running pass rates of the inputs that are drawn again; None for all."""
    filter_by_std: Annotated[GroupFilter | None, LATER] = None
    """Groups of the largest deviations, which alone are used in the update; None for all."""
    hint_share: Annotated[Fraction, LATER] = 0.5
    """Share of a reference's tokens that ``hint`` gives at the beginning of training. It falls
    linearly to 0 at its end; where it is less than one token, nothing is drawn again."""
    count_dropped: bool = True
    """If true, groups that are left out count in the denominators of ``aggregate``, so that the
    others weigh as much as with ``keep``."""
    zero_tol: Annotated[float, Field(ge=0, lt=2)] = TOLERANCE
    """Largest difference of rewards of a group that count as equal, as a share of the group's
    largest \\|reward\\|."""

    @property
    def group_rules(self) -> GroupRules:
        """Rules for the outputs of an input."""
        treatment = self.zero_std_groups
        return GroupRules(
            silent_by=self.silent_by,
            zero_tol=self.zero_tol,
            best_reward=self.best_reward,
            max_resamples=self.max_resamples if treatment == "resample" else 0,
            draw_more=self._rounds if treatment == "draw_more" else None,
            hint_share=self.hint_share if treatment == "hint" else None,
            input_filter=self._input_filter,
        )

    @property
    def _rounds(self) -> DrawMore:
        return DrawMore(
            round_size=self.round_size, max_rounds=self.max_rounds, until=self.draw_until
        )

    @property
    def _input_filter(self) -> InputFilter | None:
        if self.solved_above is None and self.difficulty_band is None:
            return None
        band = self.difficulty_band or DifficultyBand()
        solved = math.inf if self.solved_above is None else self.solved_above
        return InputFilter(least=band.min, most=band.max, solved=solved)

    @property
    def has_baseline(self) -> bool:
        """True if advantages are those of whole outputs, rewards and penalties less a baseline."""
        return self.advantage not in _UNCENTRED

    @property
    def _decides_on_groups(self) -> bool:
        """True if a silent group is treated in another way than one whose rewards deviate."""
        return (
            self.advantage in _GROUP_BASELINES
            or self.zero_std_groups != "keep"
            or self.filter_by_std is not None
            or self._input_filter is not None
        )

    @property
    def judges_rewards(self) -> bool:
        """True if outputs are right or wrong by ``best_reward``, and not by their group."""
        return self.advantage == "right_or_wrong" or self.zero_std_groups == "entropy_shaped"

    @property
    def knows_right(self) -> bool:
        """True if a key asks which outputs have the ``best_reward``."""
        return (
            self.judges_rewards
            or self._input_filter is not None
            or self.zero_std_groups in ("draw_more", "hint", "virtual_best")
        )

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of groups of one, and of keys that contradict each other."""
        yield from super().problems()
        yield from self._problems_of_filters()
        yield from self._problems_of_silent_by()
        yield from self._problems_of_advantages()
        yield from self._problems_of_treatment()
        yield from self._problems_of_weights()

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield keys of another treatment of silent groups, or of another advantage."""
        yield from super().unread_keys()
        for name, (key, value) in _KEYS_OF.items():
            if getattr(self, key) != value:
                yield name, f"without '{key}' = '{value}'"
        if not self.knows_right:
            yield "best_reward", "where no key asks which outputs are right"
        if self.zero_std_groups != "drop" and self.filter_by_std is None:
            yield "count_dropped", "without 'zero_std_groups' = 'drop' or 'filter_by_std'"

    def _problems_of_filters(self) -> Iterator[Problem]:
        """Yield the problems of filters that keep nothing, or nothing that others wake."""
        band, chosen, rates = self.difficulty_band, self.filter_by_std, self._input_filter
        if band is not None:
            yield from (problem.below("difficulty_band") for problem in band.problems())
        if rates is not None and rates.solved <= rates.least:
            above = f" and in 'difficulty_band', at least {rates.least}" if rates.least else ""
            yield Problem(f"no running pass rate is below it{above}; raise it", "solved_above",
                          self.solved_above)  # fmt: skip
        if chosen is None:
            return
        yield from (problem.below("filter_by_std") for problem in chosen.problems())
        if self.num_samples_per_input < 2:
            yield Problem("leaves out every group of one; raise 'num_samples_per_input'",
                          "filter_by_std")  # fmt: skip
        if self.zero_std_groups in ("virtual_best", "entropy_shaped"):
            yield Problem(f"leaves silent groups out, which '{self.zero_std_groups}' pushes; drop "
                          "it, or give another 'zero_std_groups'", "filter_by_std")  # fmt: skip

    def _problems_of_silent_by(self) -> Iterator[Problem]:
        """Yield the problems of a part that decides on groups where nothing asks for it."""
        if self.silent_by is None:
            return
        if self.zero_std_groups == "virtual_best":
            yield Problem("'virtual_best' has no silent groups; drop it, or give another "
                          "'zero_std_groups'", "silent_by", self.silent_by)  # fmt: skip
        if self.advantage == "right_or_wrong":
            yield Problem("'advantage' = 'right_or_wrong' judges the whole reward; drop it, and "
                          "give its largest value as 'best_reward'", "silent_by",
                          self.silent_by)  # fmt: skip
        elif not self._decides_on_groups:
            yield Problem(f"has no effect on 'advantage' = '{self.advantage}', which pushes by "
                          "every reward; give 'zero_std_groups' = 'drop' or 'resample', or drop it",
                          "silent_by", self.silent_by)  # fmt: skip

    def _problems_of_advantages(self) -> Iterator[Problem]:
        """Yield the problems of scales without groups, and of groups of one."""
        of_groups = self.advantage in _GROUP_BASELINES
        if not of_groups and self.advantage_scale not in ("none", "unit"):
            yield Problem("is of rewards minus a group's mean; give 'advantage' = 'group', or "
                          "'unit' here", "advantage_scale", self.advantage_scale)  # fmt: skip
        if of_groups and self.num_samples_per_input < 2:
            yield Problem(f"'advantage' = '{self.advantage}' needs at least 2, since a group of "
                          "one has no deviation; raise it, or give 'advantage' = 'none'",
                          "num_samples_per_input", self.num_samples_per_input)  # fmt: skip

    def _problems_of_treatment(self) -> Iterator[Problem]:
        """Yield the problems of a treatment of silent groups that other keys do not fit."""
        treatment, parts = self.zero_std_groups, (self.advantage, self.advantage_scale)
        if (
            treatment in ("drop", "resample", "draw_more", "hint")
            and self.num_samples_per_input < 2
        ):
            yield Problem("leaves out every group of one; raise 'num_samples_per_input'",
                          "zero_std_groups", treatment)  # fmt: skip
        if treatment == "virtual_best" and parts != ("group", "group_std"):
            yield Problem("has a mean and a std of the group; give 'advantage' = 'group' and "
                          "'advantage_scale' = 'group_std'", "zero_std_groups",
                          treatment)  # fmt: skip
        if treatment == "draw_more" and parts != ("group", "none"):
            yield Problem("has rewards minus the mean of all drawn, and no divisor; give "
                          "'advantage' = 'group' and 'advantage_scale' = 'none'",
                          "zero_std_groups", treatment)  # fmt: skip
        if treatment == "draw_more" and self.round_size < self.num_samples_per_input:
            yield Problem("is less than 'num_samples_per_input' = "
                          f"{self.num_samples_per_input}, the outputs that are kept; raise it",
                          "round_size", self.round_size)  # fmt: skip
        if treatment == "hint" and self.hint_share == 0:
            yield Problem("gives hints of no token; raise it, or give another 'zero_std_groups'",
                          "hint_share", self.hint_share)  # fmt: skip
        if treatment == "entropy_shaped" and (
            not self.has_baseline or self.advantage_scale == "unit"
        ):
            yield Problem("gives advantages to groups that have none; give 'advantage' = 'group', "
                          "and another 'advantage_scale' than 'unit', which would centre them",
                          "zero_std_groups", treatment)  # fmt: skip

    def _problems_of_weights(self) -> Iterator[Problem]:
        """Yield the problems of weights that are taken back, or leave nothing."""
        weights = {"positive_weight": self.positive_weight,
                   "negative_weight": self.negative_weight}  # fmt: skip
        if self.advantage_scale == "unit":
            for name, weight in weights.items():
                if weight != 1:
                    yield Problem("'advantage_scale' = 'unit' would centre what it weighs; give "
                                  "another one", name, weight)  # fmt: skip
        if not any(weights.values()):
            yield Problem("leaves nothing to learn with 'positive_weight' = 0; raise one of them",
                          "negative_weight", 0.0)  # fmt: skip
