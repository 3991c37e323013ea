"""Preflight check of a server that samples outputs: whether it is there and has the model."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import Problem, UserError
from grue.experiments.extract.config import ServedAlg
from grue.experiments.preflight.cache import Answers
from grue.policies.server.client import models


def server_problems(alg: ServedAlg, answers: Answers) -> Iterator[Problem]:
    """Yield the problem of a server that does not answer, or lacks the model."""
    found = answers.once(("server", alg.server.url), lambda: models(alg.server))
    if isinstance(found, UserError):
        yield Problem(f"the server does not answer as expected: {found}; start it, or fix the "
                      "address", "alg.server.url", alg.server.url)  # fmt: skip
    elif alg.model_name not in found:
        known = ", ".join(found) or "none"
        yield Problem(f"the server at {alg.server.url} has no such model; it has {known}",
                      "alg.model_name", alg.model_name)  # fmt: skip
