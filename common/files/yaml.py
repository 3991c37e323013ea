"""YAML of published files: safe types, and two of their errors read with a warning."""

from __future__ import annotations

import logging
import re
from typing import Any

import yaml

from common.errors import UserError

log = logging.getLogger(__name__)

_TAGS = "tag:yaml.org,2002:"
_TEXT, _MERGE, _DATE = (_TAGS + name for name in ("str", "merge", "timestamp"))
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
_BOOL_AND_COMMA = re.compile(r"(true|True|TRUE|false|False|FALSE),$")


def parse_yaml(text: str, source: str) -> Any:
    """Return the value in ``text``; ``source`` names its file in messages.

    Raises:
        UserError: it is no YAML, or a key is repeated or is no text; with line and column.
    """
    try:
        return _Loader(text, source).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{_place(source, error.problem_mark)}: {_reason(error)}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from None


class _Loader(yaml.SafeLoader):
    """Loader with unique text keys; dates stay text, since no key is a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012  a name of the base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        super().__init__(text)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Return the value at ``node``, whose tag it may not fit, as in ``!!int x``."""
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # of Python's own conversions
            shown = node.tag.replace(_TAGS, "!!")
            raise _Refused(f"not a value of the tag {shown}", node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return the object at ``node``."""
        if not isinstance(node, yaml.MappingNode):
            raise _Refused("expected an object of keys", node.start_mark)
        seen = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                raise _Refused("a key must be text; put it in quotes", key.start_mark)
            if key.value in seen:
                raise _Refused(f"'{key.value}' is repeated; keep one of them", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def exponent(self, node: Any) -> float:
        """Return a number such as ``1e-6``, which YAML 1.1 reads as text for lack of a point."""
        self._warn(node, f"the number {float(node.value)}")
        return float(node.value)

    def bool_and_comma(self, node: Any) -> bool:
        """Return a boolean followed by a comma, which YAML reads as text."""
        value = node.value[:-1].lower()
        self._warn(node, value)
        return bool(value == "true")

    def _warn(self, node: Any, meaning: str) -> None:
        place = _place(self.source, node.start_mark)
        log.warning("%s: '%s' is text in YAML; it is read as %s", place, node.value, meaning)


_Loader.add_implicit_resolver("!exponent", _EXPONENT, list("-+0123456789"))
_Loader.add_constructor("!exponent", _Loader.exponent)
_Loader.add_implicit_resolver("!bool_and_comma", _BOOL_AND_COMMA, list("tTfF"))
_Loader.add_constructor("!bool_and_comma", _Loader.bool_and_comma)


class _Refused(yaml.MarkedYAMLError):
    """Error of YAML that is valid but has no meaning in a file of keys."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _reason(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _Refused):
        return str(error.problem)
    context = f"{error.context}, " if error.context else ""
    return f"not valid YAML: {context}{error.problem}"


def _place(source: str, mark: Any) -> str:
    """Return line and column, counted from 1."""
    return f"{source}, line {mark.line + 1}, column {mark.column + 1}"
