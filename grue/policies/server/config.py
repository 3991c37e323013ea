"""Keys of a server that samples outputs, and the generation settings that its protocol knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from common.config.base import NO_EFFECT, Config
from common.config.fit import NonNegativeInt, PositiveFloat, PositiveInt
from common.errors import Problem
from common.packages import lacking
from grue.policies.generation_config import GenerationConfig

API_KEY = "OPENAI_API_KEY"
"""Environment variable of the key that a server may ask for; nothing writes it down."""
STOP = "stop_strings"
"""Key of the library for texts that end an output."""
_SENT = {"temperature": "temperature", "top_p": "top_p", "max_new_tokens": "max_tokens",
         STOP: "stop"}  # fmt: skip
"""Generation keys by their names in the protocol."""
_APPLIED_HERE = ("do_sample", "post_processing_fn", "max_length")
"""Generation keys that change nothing at the server."""
_OF_OTHER_KEYS = {
    "model": "alg.model_name",
    "prompt": "datapool",
    "messages": "datapool",
    "n": "alg.server.num_samples_per_request",
    **{theirs: f"alg.generation_kwargs.{ours}" for ours, theirs in _SENT.items()},
}
_FROM_RANDOM_SEED = "would be that of all requests; each has one of its own, made of 'random_seed'"


class ServerConfig(Config):
    """A server of the completions and chat protocols, such as those of vLLM and llama.cpp."""

    url: Annotated[str, NO_EFFECT]
    """Address below which the server has ``/models`` and ``/completions`` or
    ``/chat/completions``, such as ``http://localhost:8000/v1``. The key that it may ask for is read
    from the environment variable ``OPENAI_API_KEY``."""
    num_samples_per_request: PositiveInt = 1
    """Number of outputs that one request asks for (``n``). Above 1 the server reads a prompt less
    often; not every server knows how."""
    concurrency: Annotated[PositiveInt, NO_EFFECT] = 16
    """Number of requests that wait for the server at the same time."""
    timeout_seconds: Annotated[PositiveFloat, NO_EFFECT] = 600.0
    """Longest wait for an answer, after which it is asked for again."""
    max_retries: Annotated[NonNegativeInt, NO_EFFECT] = 8
    """Number of times that a request is repeated after no answer, half an answer, or the status
    408, 409, 429 or 5xx. The pause is the one that the server names, of at most two minutes, or
    grows from half a second to eight."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Keys of this server beyond the protocol, added to each request, such as ``top_k``. With null,
    a key of the protocol that the server refuses, such as ``seed``, is left out."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of an address, and of keys that other keys of the run set."""
        yield from super().problems()
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield Problem("is no address; give one such as http://localhost:8000/v1", "url",
                          self.url)  # fmt: skip
        elif parts.username or parts.password:
            yield Problem("holds a password, which would stand in the run's folder; take it out",
                          "url")  # fmt: skip
        for name, value in self.extra_body.items():
            if value is None:
                continue
            at = f"extra_body.{name}"
            if name in _OF_OTHER_KEYS:
                yield Problem(f"is set by '{_OF_OTHER_KEYS[name]}'; give it there", at, value)
            elif name == "seed":
                yield Problem(f"{_FROM_RANDOM_SEED}; take it out", at, value)
            elif name == "stream":
                yield Problem("answers are read as a whole; take it out", at, value)

    def missing(self) -> Iterator[Problem]:
        """Yield the package that speaks the protocol."""
        yield from super().missing()
        yield from lacking("openai", "url", self.url)


def sampling_keys(settings: GenerationConfig) -> dict[str, Any]:
    """Return the generation settings by their names in the protocol."""
    given = _given(settings)
    return {theirs: given[ours] for ours, theirs in _SENT.items() if given.get(ours) is not None}


def problems_of_sampling(settings: GenerationConfig) -> Iterator[Problem]:
    """Yield the generation settings that the protocol does not know."""
    usual = {**GenerationConfig().model_dump(), "top_k": 0}
    if settings.max_new_tokens is None:
        yield Problem("a server needs it", "max_new_tokens")
    for name, value in _given(settings).items():
        if name in (*_SENT, *_APPLIED_HERE) or value == usual.get(name):
            continue
        instead = "set it to 0" if name == "top_k" else "leave it out"
        if name == "truncate_token":
            instead = f"give '{STOP}'"
        yield Problem(
            f"the protocol of servers has no such key; {instead}, or give what this server calls "
            "it in 'alg.server.extra_body'", name, value,
        )  # fmt: skip


def _given(settings: GenerationConfig) -> Mapping[str, Any]:
    own = {name: getattr(settings, name) for name in GenerationConfig.model_fields}
    return {**own, **settings.further}
