"""Templates in a plan's strings, and names that are safe as file names."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

from common.registry import suggestion

_LONGEST_NAME = 150  # bytes; file systems allow 255, and the fingerprint follows


def fill(text: str, values: Mapping[str, Any]) -> str:
    """``text`` with each ``{key}`` or ``{key:format}`` replaced by the run's own value.

    Only names of keys are admitted: no attribute, no index, no conversion.

    Raises:
        ValueError: the template is malformed, or names an unknown key.
    """
    if "{" not in text and "}" not in text:
        return text
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"malformed template ({error}); a literal brace is doubled") from None
    return "".join(
        literal + ("" if name is None else _value(name, spec or "", conversion, values))
        for literal, name, spec, conversion in parts
    )


def _value(name: str, spec: str, conversion: str | None, values: Mapping[str, Any]) -> str:
    if name not in values:
        close = suggestion(name, list(values))
        raise ValueError(f"the template names an unknown key '{name}'{close}")
    if conversion or "{" in spec:
        raise ValueError(f"the template may use '{{{name}}}' or '{{{name}:format}}' only")
    try:
        return format(values[name], spec) if spec else str(values[name])
    except (ValueError, TypeError) as error:
        raise ValueError(f"the template cannot format '{name}': {error}") from None


def fill_all(value: Any, values: Mapping[str, Any]) -> Any:
    """``value`` with every string in it, at any depth, filled from ``values``."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, list):
        return [fill_all(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill_all(item, values) for key, item in value.items()}
    return value


def file_name(text: str) -> str:
    """``text`` as a file name: the published replacements, then ``-`` for all that is unsafe."""
    published = re.sub(r"[\[\] ]", "", re.sub(r"[.,]", "-", text))
    safe = re.sub(r"[^\w+=-]", "-", published)
    return safe.encode()[:_LONGEST_NAME].decode(errors="ignore") or "exp"
