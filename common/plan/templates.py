"""Templates in a plan's strings, and safe file names."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from common.errors import Problem
from common.key_paths import Key, key_path, value_at
from common.registry import suggestion

_ABSENT: Any = object()
_LITERAL = "a literal brace is doubled"
_LONGEST_NAME = 150  # bytes; file systems allow 255, and the fingerprint follows
_WIDEST_FORMAT = 150  # characters; Python would pad to as many as memory holds


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Return ``text`` with each ``{key}`` or ``{key:format}`` replaced by the run's own value.

    Only names of keys, and dotted paths to given values inside them, are allowed: no attribute,
    index or conversion, and no value that is a template itself.

    Raises:
        ValueError: the template is malformed, or names a key that is not allowed.
    """
    if "{" not in text and "}" not in text:
        return text
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"malformed template ({error}); {_LITERAL}") from None
    return "".join(
        literal + ("" if name is None else _value(name, spec or "", conversion, values))
        for literal, name, spec, conversion in parts
    )


def _value(name: str, spec: str, conversion: str | None, values: Mapping[str, Any]) -> str:
    value = value_at(values, name, _ABSENT)
    if value is _ABSENT:
        close = suggestion(name, list(values)) or f"; {_LITERAL}"
        raise ValueError(f"the template names an unknown key '{name}'{close}")
    if conversion or "{" in spec:
        raise ValueError(
            f"the template may use '{{{name}}}' or '{{{name}:format}}' only; {_LITERAL}"
        )
    value = _as_lists(value)
    if re.search("[{}]", str(value)):
        raise ValueError(f"the template names '{name}', which has braces itself; write it out here")
    try:
        if any(int(number) > _WIDEST_FORMAT for number in re.findall(r"\d+", spec)):
            raise ValueError(f"more than {_WIDEST_FORMAT} characters or digits")
        return format(value, spec) if spec else str(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the template cannot format '{name}': {error}; {_LITERAL}") from None


def _as_lists(value: Any) -> Any:
    """Return a default's tuples as the lists that a plan writes."""
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def fill_keys(
    values: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``values`` with every string in them, at any depth, filled from ``known``.

    Strings that cannot be filled stay, and their problems are returned too.
    """
    problems: list[Problem] = []
    return {key: _filled(value, known, (key,), problems) for key, value in values.items()}, problems


def _filled(value: Any, known: Mapping[str, Any], key: Key, problems: list[Problem]) -> Any:
    """Return the filled ``value`` of ``key``; problems are appended to ``problems``."""
    if isinstance(value, list):
        return [_filled(item, known, (*key, i), problems) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _filled(item, known, (*key, name), problems) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return fill(value, known)
    except ValueError as error:
        problems.append(Problem(str(error), key_path(key), value))
        return value


def literal(value: Any) -> Any:
    """Return ``value`` with the braces of its strings doubled, so that no string is a template."""
    if isinstance(value, list):
        return [literal(item) for item in value]
    if isinstance(value, dict):
        return {name: literal(item) for name, item in value.items()}
    return re.sub("[{}]", r"\g<0>\g<0>", value) if isinstance(value, str) else value


def file_name(text: str) -> str:
    """Return ``text`` as a file name: the published replacements, ``-`` for unsafe characters.

    The beginning of a reference (``@``) or of an absolute path is dropped.
    """
    named = re.sub(r"@(?=\w)|(?<![a-zA-Z0-9.])/", "", text)
    published = re.sub(r"[\[\] ]", "", re.sub(r"[.,]", "-", named))
    safe = re.sub(r"[^\w+=-]", "-", published)
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore") or "exp"
