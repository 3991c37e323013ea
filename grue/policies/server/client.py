"""Requests to a server: several at a time, each repeated until it has a whole answer.

Repeating and its pauses are the client library's. The server's answer to one request says nothing
of the others, so that results do not depend on the order in which they arrive.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import Interrupted, UserError, printable
from grue.policies.server.config import API_KEY, ServerConfig

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

K = TypeVar("K")

_SECONDS_OF_LOOK = 10.0
"""Longest wait for the list of models."""
_SECONDS_BETWEEN_LOOKS = 0.2
"""Time between two looks at whether the run was asked to stop."""
_NO_KEY = "none"
"""Key for servers that ask for none; the library wants one."""
_SHOWN = 200


@dataclass(frozen=True)
class Request:
    """One request for outputs of a prompt."""

    prompt: str | Sequence[Mapping[str, str]]
    """Text, which is completed, or chat messages, which are answered."""
    num_samples: int
    """Number of outputs."""
    keys: Mapping[str, Any]
    """Further keys of the protocol and of the server; null leaves a key out."""


@dataclass(frozen=True)
class Output:
    """One output of a server."""

    text: str
    num_tokens: int | None
    """Number of its tokens; None if the server does not tell it of single outputs."""


def models(config: ServerConfig) -> list[str]:
    """Return the names of the models that the server has.

    Raises:
        UserError: there is no such server, or it does not answer as one.
    """

    async def listed() -> list[str]:
        async with _client(config, seconds=_SECONDS_OF_LOOK, max_retries=1) as client:
            found = await _answered(client.models.list(), config, seconds=_SECONDS_OF_LOOK)
            return [str(model.id) for model in found.data]

    return asyncio.run(listed())


def ask(
    requests: Mapping[K, Request],
    model: str,
    config: ServerConfig,
    *,
    keep: Callable[[K, list[Output]], None],
    stop_requested: Callable[[], bool],
) -> None:
    """Give each request's key in ``requests`` and its outputs to ``keep``, as they arrive.

    Raises:
        UserError: a request has no whole answer after all repetitions. Others that have one are
            kept.
        Interrupted: a stop was asked for, likewise.
    """

    async def all_of_them() -> None:
        left = iter(requests.items())
        async with _client(config, config.timeout_seconds, config.max_retries) as client:

            async def one_by_one() -> None:
                for key, request in left:
                    keep(key, await _outputs(client, request, model, config))

            num_workers = min(config.concurrency, len(requests))
            workers = [asyncio.create_task(one_by_one()) for _ in range(num_workers)]
            await _unless_stopped(workers, stop_requested)

    asyncio.run(all_of_them())


async def _unless_stopped(
    tasks: Sequence[asyncio.Task[None]], stop_requested: Callable[[], bool]
) -> None:
    """Await all tasks; an error or a stop ends those that are under way."""
    waiting = set(tasks)
    try:
        while waiting:
            if stop_requested():
                raise Interrupted("stopped on request while a server was asked")
            done, waiting = await asyncio.wait(
                waiting, timeout=_SECONDS_BETWEEN_LOOKS, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _client(config: ServerConfig, seconds: float, max_retries: int) -> AsyncOpenAI:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # which has a line for each request
    return AsyncOpenAI(
        base_url=config.url,
        api_key=os.environ.get(API_KEY) or _NO_KEY,
        timeout=seconds,
        max_retries=max_retries,
        http_client=DefaultAsyncHttpxClient(event_hooks={"response": [_check_form]}),
    )


async def _check_form(response: Response) -> None:
    """Raise an error of transport, which the library asks again after, for a cut answer."""
    if not response.is_success:
        return
    from httpx2 import DecodingError

    await response.aread()
    try:
        answer = response.json()
        is_whole = isinstance(answer.get("choices", answer.get("data")), list)
    except (ValueError, AttributeError):
        is_whole = False
    if not is_whole:
        raise DecodingError(
            f"status {response.status_code} with an answer that is cut or none of the protocol: "
            f"{_first_line(response)!r}"
        )


async def _outputs(
    client: AsyncOpenAI, request: Request, model: str, config: ServerConfig
) -> list[Output]:
    """Return the outputs that the server gives for a request."""
    keys = {name: value for name, value in request.keys.items() if value is not None}
    asked: dict[str, Any] = {"model": model, "n": request.num_samples, "extra_body": keys}
    if request.num_samples == 1:
        del asked["n"]  # not all servers know it
    if isinstance(request.prompt, str):
        answer: Any = client.completions.create(prompt=request.prompt, **asked)
    else:
        messages: Any = [dict(message) for message in request.prompt]
        answer = client.chat.completions.create(messages=messages, **asked)
    found = await _answered(answer, config, seconds=config.timeout_seconds)
    if len(found.choices) != request.num_samples:
        raise UserError(
            f"{config.url}: gave {len(found.choices)} of {request.num_samples} outputs; set "
            "'alg.server.num_samples_per_request' to 1"
        )
    alone = getattr(found.usage, "completion_tokens", None) if len(found.choices) == 1 else None
    return [_output(choice, alone) for choice in found.choices]


def _output(choice: Any, num_tokens: int | None) -> Output:
    """Return the output in a choice; ``num_tokens`` is that of the whole answer, if of one."""
    message = getattr(choice, "message", None)
    text = choice.text if message is None else message.content
    known = getattr(choice, "logprobs", None)
    listed = None if known is None else getattr(known, "tokens", getattr(known, "content", None))
    return Output(printable(text or ""), num_tokens if listed is None else len(listed))


async def _answered(answer: Any, config: ServerConfig, *, seconds: float) -> Any:
    """Await an answer.

    Raises:
        UserError: there is none, with address, status and what the server said.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    try:
        return await answer
    except APIStatusError as error:
        said = f"status {error.status_code}, {_first_line(error.response)!r}"
        raise UserError(f"{_place(error)}: {said}{_advice(error.status_code)}") from None
    except APITimeoutError as error:
        raise UserError(f"{_place(error)}: no answer within {seconds:g} seconds") from None
    except APIConnectionError as error:
        raise UserError(f"{_place(error)}: {error.__cause__ or error}") from None


def _place(error: Any) -> str:
    return f"{error.request.method} {error.request.url}"


def _first_line(response: Response) -> str:
    text: str = response.text
    return text.strip().partition("\n")[0][:_SHOWN]


def _advice(status: int) -> str:
    if status in (401, 403):
        return f"; give the server's key in the environment variable {API_KEY}"
    return "; the path of such servers ends with /v1" if status == 404 else ""
