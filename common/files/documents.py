"""Documents: files that contain one object of keys, as JSON, or as YAML by the suffix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files.surrogates import why_no_text, why_not_utf8

_YAML_SUFFIXES = (".yml", ".yaml")
_DEEPEST = 100  # levels of objects and lists; Python's stack holds some hundreds
_MOST = 1_000_000  # values


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in ``path``.

    Raises:
        UserError: the file cannot be read, it is neither JSON nor YAML (with line and column), a
            key is repeated, it is nested too deeply or too large, a string is no text, or it is
            not an object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = _parse_yaml(text, path) if path.suffix in _YAML_SUFFIXES else parse_json(text)
    except UnicodeDecodeError:
        raise UserError(f"{path}: {why_not_utf8(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected an object of keys, for example with 'configurations'")
    return document


def parse_json(text: str) -> Any:
    """Return the JSON value in ``text``, written by a person.

    Raises:
        ValueError: it is no JSON, a key is repeated, it is nested too deeply or too large, or a
            string is no text.
    """
    return _all_text(json_value(text, object_pairs_hook=_no_duplicates))


def json_value(text: str | bytes, **options: Any) -> Any:
    """Return the JSON value in ``text``, written by a program.

    ``options`` are arguments of `json.loads`.

    Raises:
        ValueError: it is no JSON, or it is nested too deeply or too large.
    """
    try:
        value = json.loads(text, **options)
        return value if _is_small(text) else _not_too_large(value)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _is_small(text: str | bytes) -> bool:
    """Return whether JSON has so few brackets and characters that it cannot be too large."""
    opening = (b"{", b"[") if isinstance(text, bytes) else ("{", "[")
    return len(text) <= _MOST and sum(map(text.count, opening)) <= _DEEPEST  # type: ignore[arg-type]


def json_object(text: str) -> dict[str, Any]:
    """Return the object in ``text``, parsed as by `json_value`.

    Raises:
        ValueError: it is no JSON, it is nested too deeply, or it is no object.
    """
    found = json_value(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object of keys, found {type(found).__name__}")
    return found


def _parse_yaml(text: str, path: Path) -> Any:
    from common.files.yaml import parse_yaml

    try:
        return _all_text(_not_too_large(parse_yaml(text, str(path))))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


_TOO_DEEP = f"more than {_DEEPEST} levels of objects and lists; take some out"
_TOO_MANY = f"more than {_MOST:,} values, those of aliases counted at each; take some out"


def _not_too_large(value: Any) -> Any:
    """Return ``value``.

    Raises:
        ValueError: it has too many levels or values, as YAML makes of a few lines with aliases.
    """
    num_values = 0
    unseen = [(value, 0)] if isinstance(value, (dict, list)) else []
    while unseen:
        item, level = unseen.pop()
        inner = item.values() if isinstance(item, dict) else item
        num_values += len(inner)
        if inner and level >= _DEEPEST:
            raise ValueError(_TOO_DEEP)
        if num_values > _MOST:
            raise ValueError(_TOO_MANY)
        unseen += [(part, level + 1) for part in inner if isinstance(part, (dict, list))]
    return value


def _all_text(value: Any) -> Any:
    broken = why_no_text(value)
    if broken:
        raise ValueError(broken)
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"'{twice[0]}' is repeated in one object; keep one of them")
    return dict(pairs)
