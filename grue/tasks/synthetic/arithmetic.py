"""Synthetic arithmetic: sums, differences and products of graded difficulty.

A problem belongs to one split alone, whatever the seed, and so do the problems that swap its
operands: what a model has learned by heart helps with no held-out problem.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import LATER
from common.config.fit import PositiveFloat, PositiveInt
from common.errors import Problem
from grue.tasks.chat import ChatArgs
from grue.tasks.task import TASKS, Sample, Split, Task

Operation = Literal["+", "-", "*"]
Digits = Annotated[int, Field(ge=1, le=15)]

_COMPUTE: Mapping[Operation, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_PARTS = 10
_SPLITS: Mapping[int, Split] = {0: "val", 1: "test"}
"""Splits of the first tenths of all problems; the others are for training."""


class ArithmeticArgs(ChatArgs):
    """Keys of the arithmetic problems."""

    num_samples: PositiveInt = 1000
    """Number of problems of the training split; the others have a quarter of them."""
    digits: Annotated[tuple[Digits, ...], Strict(False), Field(min_length=1)] = (1, 2)
    """Levels of difficulty: number of digits of a problem's larger operand. A sample has its own as
    metadata ``difficulty``."""
    shares: Annotated[tuple[PositiveFloat, ...], Strict(False)] = ()
    """Share of each level, up to a common factor: ``[9, 1]`` makes nine easy problems for a hard
    one; empty for equal shares."""
    operations: Annotated[tuple[Operation, ...], Strict(False), Field(min_length=1)] = ("+",)
    """Operations, of which each problem has one at random; differences are never negative."""
    working: bool = False
    """If true, references show the steps to the result, which stands last: one for each digit of
    the second operand that is not 0."""
    prompt_prefix: str = ""
    """Text before the problem."""
    prompt_suffix: str = "="
    """Text after the problem."""
    reference_prefix: Annotated[str, LATER] = ""
    """Text before the result and its steps in references, such as a blank, which is then part of
    outputs, and of hints."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the problems."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of shares of other levels."""
        yield from super().problems()
        if self.shares and len(self.shares) != len(self.digits):
            yield Problem(f"has {len(self.shares)} entries for the {len(self.digits)} levels of "
                          "'digits'; give one for each", "shares", list(self.shares))  # fmt: skip


@TASKS.register("arithmetic")
class Arithmetic(Task[ArithmeticArgs]):
    """Problems such as ``12+35=``, each with its result as the reference."""

    Args = ArithmeticArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the problems of a split; each split has a random stream of its own."""
        args = self.args
        count = args.num_samples if split == "train" else max(args.num_samples // 4, 1)
        draw = random.Random(f"{args.seed} {split}")
        levels = list(_levels(args, count))
        draw.shuffle(levels)
        return args.in_form(
            [self._sample(f"{split}_{i}", split, level, draw) for i, level in enumerate(levels)]
        )

    def _sample(self, name: str, split: Split, digits: int, draw: random.Random) -> Sample:
        args = self.args
        first, operation, second = _problem(args, split, digits, draw)
        steps = list(_steps(first, operation, second))
        result = str(_COMPUTE[operation](first, second))
        return Sample(
            name,
            f"{args.prompt_prefix}{first}{operation}{second}{args.prompt_suffix}",
            (args.reference_prefix + (", ".join(steps) if args.working else result),),
            {"difficulty": digits},
        )


def _levels(args: ArithmeticArgs, count: int) -> Iterator[int]:
    """Yield the level of each of ``count`` problems, in numbers as near the shares as can be."""
    shares = args.shares or (1.0,) * len(args.digits)
    ends = [round(count * end / sum(shares)) for end in itertools.accumulate(shares)]
    for digits, start, end in zip(args.digits, [0, *ends], ends, strict=False):
        yield from itertools.repeat(digits, end - start)


def _problem(
    args: ArithmeticArgs, split: Split, digits: int, draw: random.Random
) -> tuple[int, Operation, int]:
    """Return the operands and the operation of a problem that belongs to the split."""
    least, most = (10 ** (digits - 1) if digits > 1 else 0), 10**digits - 1
    while True:
        operation = draw.choice(args.operations)
        small, large = sorted((draw.randint(least, most), draw.randint(0, most)))
        if _split_of(small, operation, large) == split:
            swap = operation != "-" and draw.random() < 0.5
            return (small, operation, large) if swap else (large, operation, small)


def _split_of(small: int, operation: Operation, large: int) -> Split:
    digest = hashlib.sha256(f"{small}{operation}{large}".encode()).digest()
    return _SPLITS.get(int.from_bytes(digest[:4]) % _PARTS, "train")


def _steps(first: int, operation: Operation, second: int) -> Iterator[str]:
    """Yield the equations that lead to the result, by the second operand's digits."""
    digits = str(second)
    terms = [int(digit) * 10 ** (len(digits) - i) for i, digit in enumerate(digits, 1)]
    terms = [term for term in terms if term] or [0]
    if operation == "*":
        products = [first * term for term in terms]
        yield from (f"{first}*{term}={first * term}" for term in terms)
        first, operation, terms = products[0], "+", products[1:]
    for term in terms:
        result = _COMPUTE[operation](first, term)
        yield f"{first}{operation}{term}={result}"
        first = result
