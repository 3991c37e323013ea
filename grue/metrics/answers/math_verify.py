"""Mathematical answers compared as expressions by the package math-verify."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from common.config.base import Config
from common.config.fit import PositiveInt
from common.errors import Problem
from common.packages import lacking
from grue.metrics.answers.extraction import find_answer
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts

log = logging.getLogger(__name__)

_PACKAGE = "math-verify[antlr4_13_2]"


class MathVerifyArgs(Config):
    """Key of the comparison."""

    timeout: PositiveInt = 5
    """Seconds after which an answer that is still being read or compared counts as wrong."""

    def missing(self) -> Iterator[Problem]:
        """Yield the package, if it is missing."""
        yield from super().missing()
        yield from lacking(_PACKAGE, module="math_verify", otherwise="or take 'exact_answer'")


@METRICS.register("math_verify")
class MathVerify(Metric[MathVerifyArgs]):
    r"""1 for an output whose answer is equal to a reference's as an expression, otherwise 0.

    The package finds the answer in an output. That of a reference stands after ``####``, in
    ``\boxed{}``, or is the whole reference.
    """

    names = ("answer/verified",)
    Args = MathVerifyArgs
    largest: ClassVar[Mapping[str, float]] = {"answer/verified": 1.0}
    needs_references = True

    def __init__(self, args: MathVerifyArgs) -> None:
        super().__init__(args)
        self._read = functools.lru_cache(maxsize=10_000)(self._read_reference)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] zeros and ones."""
        texts.check_references("math_verify")
        pairs = zip(texts.outputs, texts.references, strict=True)
        return {"answer/verified": np.array([self._is_right(*pair) for pair in pairs], np.float64)}

    def _is_right(self, output: str, references: Sequence[str]) -> bool:
        from math_verify import verify

        answer = self._parsed(output)
        timeout = self.args.timeout
        return any(verify(self._read(text), answer, timeout_seconds=timeout) for text in references)

    def _read_reference(self, reference: str) -> Any:
        """Return the expressions of a reference; a warning tells of one that has none."""
        answer = find_answer(reference, ("marker", "boxed")) or reference
        found = self._parsed(rf"\boxed{{{answer}}}")
        if not found:
            log.warning("math-verify reads no expression in the answer %r of a reference, so that "
                        "no output is right for it", answer)  # fmt: skip
        return found

    def _parsed(self, text: str) -> Any:
        from math_verify import parse

        return parse(text, parsing_timeout=self.args.timeout)
