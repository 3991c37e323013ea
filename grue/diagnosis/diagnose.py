"""Diagnosis of the sampled rewards of a model: numbers, groups of inputs, and plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grue.diagnosis import causes, group_size
from grue.diagnosis.causes import Flags
from grue.diagnosis.group_size import Estimate, GroupSize
from grue.rl.reward_stats import reward_std

Floats = NDArray[np.float64]

TARGET_SHARES = (0.5, 0.2, 0.1)
"""Shares of silent groups for which a group size is searched."""
_EXAMPLES = 3
_MANY = 0.5
"""Share of outputs above which a cause is worth a sentence."""
_CERTAIN = "too little randomness in sampling"


@dataclass(frozen=True)
class Sampled:
    """Sampled outputs of N inputs, K of each, with their rewards."""

    rewards: Floats
    """[N, K] rewards that training sums up."""
    outputs: Sequence[Sequence[str]]
    """K texts of each of N inputs."""
    parts: Mapping[str, Floats] = field(default_factory=dict)
    """[N, K] rewards that are added up, by name, times their weights; none for a single reward."""
    at_limit: Flags | None = None
    """[N, K] outputs that have as many tokens as one may have; None where that is not known."""
    zero_tol: float | None = None
    """Difference up to which rewards are equal, see `grue.rl.reward_stats.zero_std`."""


@dataclass(frozen=True)
class Diagnosis:
    """Diagnosis of a model's rewards."""

    sampled: Sampled
    causes: causes.Causes
    silent: Estimate
    """Share of silent inputs, with its interval."""
    needed: Mapping[float, GroupSize]
    """Group sizes that leave at most a share of the groups silent."""
    doubled: Estimate | None
    """Share of silent groups of 2 K outputs by the model; None without one."""

    @property
    def num_inputs(self) -> int:
        """N."""
        return len(self.sampled.rewards)

    @property
    def num_samples(self) -> int:
        """K."""
        return int(self.sampled.rewards.shape[1])

    @property
    def keep(self) -> NDArray[np.bool_]:
        """[N] inputs whose rewards deviate."""
        return ~self.causes.silent

    @property
    def solved(self) -> NDArray[np.bool_]:
        """[N] silent inputs with the largest reward of the data."""
        return self.causes.largest

    @property
    def warm_up(self) -> NDArray[np.bool_]:
        """[N] silent inputs that are not solved: supervised finetuning can show what is right."""
        return self.causes.silent & ~self.solved

    @property
    def _same(self) -> Flags:
        """[N] inputs whose outputs are equal."""
        return causes.have_equal_outputs(self.sampled.outputs)

    @property
    def _best(self) -> float:
        return float(self.sampled.rewards.max())

    @property
    def _worst(self) -> float:
        return float(self.sampled.rewards.min())

    def control(self, seed: int) -> NDArray[np.bool_]:
        """Return [N] as many inputs as `keep` has, drawn at random."""
        chosen = np.random.default_rng(seed).permutation(self.num_inputs)[: self.keep.sum()]
        flags = np.zeros(self.num_inputs, dtype=bool)
        flags[chosen] = True
        return flags

    def sentences(self) -> list[str]:
        """Return five plain sentences with the numbers."""
        return [
            self._silent_inputs(),
            self._why(),
            self._group_size(),
            self._supervised(),
            self._filtering(),
        ]

    def _silent_inputs(self) -> str:
        count = int(self.causes.silent.sum())
        return (
            f"{_of(count, self.num_inputs)} inputs are silent, with equal rewards of all "
            f"{self.num_samples} outputs, which push nothing (share of all such inputs "
            f"{_percent(self.silent.value)}, 95 % interval {_interval(self.silent)})."
        )

    def _why(self) -> str:
        rewards, zero_tol = self.sampled.rewards, self.sampled.zero_tol
        if causes.never_matches(rewards, zero_tol):
            told = [self._never_matches()]
        elif causes.varies_between_alone(rewards, zero_tol):
            told = [self._varies_between_alone(), self._kinds()]
        else:
            told = [self._kinds()]
        return " ".join([*told, *self._cut(), *self._parts()])

    def _never_matches(self) -> str:
        examples = self._examples(np.ones(self.num_inputs, dtype=bool))
        found = (
            f"Every output of every input has the reward {self._best:g}: the reward may never "
            f"match, so look at these outputs first: {examples}."
        )
        same = int(self._same.sum())
        if not same:
            return found
        return f"{found} {_of(same, self.num_inputs)} inputs have equal outputs, too ({_CERTAIN})."

    def _varies_between_alone(self) -> str:
        std = float(reward_std(self.sampled.rewards.mean(1)[None], ddof=1)[0])
        same = int(self._same.sum())
        reason = (
            "the reward may depend on the input alone, for outputs differ"
            if not same
            else f"their outputs are equal ({_CERTAIN})"
            if same == self.num_inputs
            else f"{same} have equal outputs ({_CERTAIN}), and of the others the reward may depend "
            "on the input alone"
        )
        return f"Rewards deviate between inputs (std {std:.3g}) and within none of them: {reason}."

    def _kinds(self) -> str:
        """Return how many silent inputs have each cause."""
        found = self.causes
        solved_alike = int((found.largest & self._same).sum())
        alike = f", {solved_alike} of them with equal outputs" if solved_alike else ""
        kinds = [
            (found.equal_outputs, f"equal outputs ({_CERTAIN})"),
            (found.lowest, f"different outputs with the lowest reward {self._worst:g} (too hard, "
             f"or a reward that does not match: {self._examples(found.lowest)})"),
            (found.largest, f"the largest reward {self._best:g} (too easy{alike})"),
            (found.between, "different outputs with an equal reward between these (the reward "
             f"is too coarse: {self._examples(found.between)})"),
        ]  # fmt: skip
        told = [f"{_have(int(flags.sum()))} {words}" for flags, words in kinds if flags.any()]
        return f"Of the silent inputs {_listed(told)}." if told else "No input is silent."

    def _cut(self) -> Iterator[str]:
        """Yield that most outputs of the lowest reward are as long as an output may be."""
        if self.sampled.at_limit is None:
            return
        lowest = self.sampled.at_limit[self.causes.lowest]
        if lowest.size and lowest.mean() > _MANY:
            yield (
                f"{_percent(lowest.mean())} of these outputs with the lowest reward are as long as "
                "an output may be: they may be cut off before what the reward looks for "
                "(max_new_tokens)."
            )

    def _parts(self) -> Iterator[str]:
        """Yield what parts of a summed reward deviate."""
        if len(self.sampled.parts) < 2:
            return
        shares = causes.deviating_parts(self.sampled.parts)
        deviating = [name for name, share in shares.items() if share > 0]
        if not deviating:
            yield "No part of the reward deviates within inputs."
        elif len(deviating) == 1:
            yield f"Of the reward's parts '{deviating[0]}' alone deviates within inputs."
        else:
            told = [f"{name} {_percent(share)}" for name, share in shares.items()]
            yield f"Shares of the reward's parts in the deviation within inputs: {', '.join(told)}."

    def _examples(self, of: Flags) -> str:
        """Return different outputs, of different inputs as far as possible."""
        of_inputs = [
            texts for texts, is_one in zip(self.sampled.outputs, of, strict=True) if is_one
        ]
        different = dict.fromkeys(
            texts[place][:80] for place in range(self.num_samples) for texts in of_inputs
        )
        return ", ".join(map(repr, [*different][:_EXAMPLES]))

    def _group_size(self) -> str:
        told = []
        for share, found in self.needed.items():
            told.append(f"{_percent(share)} silent groups: {self._size(found)}")
        return f"Group size that leaves at most {'; '.join(told)}.{self._doubled()}"

    def _doubled(self) -> str:
        """Return what twice as many samples would leave silent; "" without a model."""
        found = self.doubled
        if found is None:
            return ""
        # Inputs that are all alike are the same when they are drawn again.
        is_point = found.low == found.high
        within = "all inputs are alike" if is_point else f"95 % interval {_interval(found)}"
        return (
            f" Twice as many samples would leave {_percent(found.value)} silent by that model "
            f"({within})."
        )

    def _size(self, found: GroupSize) -> str:
        """Return a group size with its interval, in words."""
        by_model = " by a beta-binomial model"
        if found.size == math.inf:
            up_to = f" up to {self.num_samples}"
            return f"none{by_model if found.by_model else up_to}"
        about = f"about {found.size:,.0f}{by_model}" if found.by_model else f"{found.size:.0f}"
        to = "any size" if found.high == math.inf else f"{found.high:,.0f}"
        return f"{about} (95 % interval {found.low:,.0f} to {to})"

    def _supervised(self) -> str:
        count = int(self.warm_up.sum())
        if not count:
            return "Supervised finetuning has no silent input to show what is right."
        return (
            f"Supervised finetuning should cover the {_of(count, self.num_inputs)} inputs "
            f"({_percent(count / self.num_inputs)}) that are silent and not solved "
            "(warm_up_with_sft.jsonl)."
        )

    def _filtering(self) -> str:
        count = int(self.keep.sum())
        if not count:
            return "A filter of silent inputs would leave none to train on."
        return (
            f"A filter of silent inputs keeps {_of(count, self.num_inputs)} (keep.jsonl): drawing "
            f"until a batch is full would cost {self.num_inputs / count:.2f} times the samples, "
            "and the answers change as the model does."
        )


def diagnose(sampled: Sampled, *, seed: int) -> Diagnosis:
    """Return the diagnosis of sampled rewards.

    Args:
        sampled: outputs and rewards.
        seed: seed of intervals.
    """
    rewards, zero_tol = sampled.rewards, sampled.zero_tol
    num_samples = rewards.shape[1]
    return Diagnosis(
        sampled,
        causes.causes_of(rewards, sampled.outputs, zero_tol),
        group_size.silent_share(rewards, num_samples, zero_tol, seed=seed),
        group_size.group_sizes_for(rewards, TARGET_SHARES, zero_tol, seed=seed),
        group_size.modelled_silent_share(rewards, 2 * num_samples, zero_tol, seed=seed),
    )


def _have(count: int) -> str:
    return f"{count} {'has' if count == 1 else 'have'}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _interval(found: Estimate) -> str:
    return f"{_percent(found.low)} to {_percent(found.high)}"


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
