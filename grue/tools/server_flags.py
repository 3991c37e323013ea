"""Flags of a server that has the model, for the commands that sample outputs."""

from __future__ import annotations

import argparse
from typing import Any

from common.errors import UserError
from common.files.documents import json_object
from common.plan.templates import literal
from grue.tools import flags

OF_OWN_MODEL: dict[str, Any] = {
    "model_type": None, "max_prompt_tokens": 512, "dtype": "float32", "gradients": False,
}  # fmt: skip
"""Flags of a model that this program loads, with their defaults."""
_OF_SERVER: dict[str, Any] = {"concurrency": None, "extra_body": None}


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the server."""
    group = parser.add_argument_group("model at a server")
    group.add_argument("--server", metavar="URL",
                       help="address of a server that has --model, such as that of vLLM, SGLang, "
                       "llama.cpp or transformers serve: http://localhost:8000/v1; its key is read "
                       "from OPENAI_API_KEY")  # fmt: skip
    group.add_argument("--concurrency", type=flags.at_least(int, 1),
                       help="number of requests at a time (default: 16)")  # fmt: skip
    group.add_argument("--extra_body", metavar="JSON", type=_object,
                       help="further keys of each request, which this server knows, such as "
                       "'{\"top_k\": -1}'")  # fmt: skip


def _object(text: str) -> dict[str, Any]:
    try:
        return json_object(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None


def check_server_flags(args: argparse.Namespace) -> None:
    """Check that no flag is one of a sampler that is not the one asked for.

    Raises:
        UserError: some are.
    """
    unused, reason = _OF_SERVER, "needs --server"
    if args.server is not None:
        unused, reason = OF_OWN_MODEL, "a server has the model; drop it"
    given = [f"--{name}" for name, default in unused.items() if getattr(args, name) != default]
    if given:
        raise UserError(f"{', '.join(given)}: {reason}")


def served_alg(args: argparse.Namespace, generation: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the model at the server, with its generation settings."""
    server: dict[str, Any] = {"url": args.server}
    if args.concurrency is not None:
        server["concurrency"] = args.concurrency
    if args.extra_body is not None:
        server["extra_body"] = literal(args.extra_body)
    return {"server": server, "model_name": args.model, "generation_kwargs": generation}
