"""SPIDEr: weighted sum of SPICE and CIDEr-D.

Liu, Zhu, Ye, Guadarrama, Murphy: Improved Image Captioning via Policy Gradient Optimization of
SPIDEr, ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import model_validator

from common.config.base import INPUT_FILE, OptionalText
from common.config.fit import PositiveInt
from common.errors import Problem
from grue.metrics.cider import Cider
from grue.metrics.metric import NoArgs
from grue.metrics.spice import Spice, SpiceArgs, no_program, of_environment
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.rewards.shaping import Shaped, ShapedArgs
from grue.texts import Texts


class SpiderArgs(ShapedArgs):
    """Keys of SPIDEr."""

    spice_coeff: float
    """Weight of SPICE, which lies in [0, 1]; 0 drops it and needs no Java."""
    cider_coeff: float
    """Weight of CIDEr-D, which lies in [0, 10]."""
    spice_jar: Annotated[OptionalText, INPUT_FILE] = None
    """Path of the program that computes SPICE, as in the metric ``spice``. None for the path in the
    environment variable ``SPICE_JAR``; not needed if SPICE's weight is 0."""
    spice_heap_gib: PositiveInt = 8
    """Memory for Java, in GiB."""

    @model_validator(mode="before")
    @classmethod
    def _jar_of_environment(cls, values: Any) -> Any:
        is_used = isinstance(values, dict) and values.get("spice_coeff")
        return of_environment(values, "spice_jar") if is_used else values

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of SPICE without its program."""
        yield from super().problems()
        if self.spice_coeff != 0 and self.spice_jar is None:
            yield no_program("spice_jar", "leave SPICE out by 'spice_coeff' = 0")


class _Sum(Reward[SpiderArgs]):
    """Weighted sum of both metrics, without shaping."""

    needs_references = True

    def __init__(self, args: SpiderArgs) -> None:
        super().__init__(args)
        self.cider = Cider(NoArgs())
        self.spice: Spice | None = None
        if args.spice_coeff != 0 and args.spice_jar is not None:
            self.spice = Spice(SpiceArgs(jar=args.spice_jar, heap_gib=args.spice_heap_gib))

    def prepare(self) -> None:
        """Check the program of SPICE, if its weight is not 0."""
        if self.spice is not None:
            self.spice.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] sums.

        Inverse document frequencies are those of the references of this call.
        """
        texts.check_references("spider")
        rewards = np.zeros(len(texts))
        if self.args.cider_coeff != 0:
            rewards += self.args.cider_coeff * self.cider.scores(texts)[self.cider.key]
        if self.spice is not None:
            rewards += self.args.spice_coeff * self.spice.scores(texts)[self.spice.key]
        return rewards


@REWARDS.register("spider")
class Spider(Shaped[SpiderArgs], _Sum):
    """Weighted SPICE and CIDEr-D, plus the reward of ``shaping_fn``."""

    Args = SpiderArgs
