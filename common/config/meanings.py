"""Meanings of configuration keys: the docstrings under their fields, read when they are asked for.

Pydantic would read them for every model that is defined (`use_attribute_docstrings`), which takes a
third of the time in which the program reads a plan.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema


class SchemaWithMeanings(GenerateJsonSchema):
    """JSON Schema of models in which each key has its meaning as its description."""

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """Return the schema of one model."""
        found = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, field in model.model_fields.items():
            meaning = meaning_of(model, name)
            key = found.get("properties", {}).get(field.alias or name)
            if key is not None and meaning:
                key["description"] = meaning
        return found


def meaning_of(model: type[BaseModel], name: str) -> str:
    """Return the docstring under a field of the model, or under that of a base; "" without one."""
    described = (_docstrings(kind).get(name) for kind in model.__mro__)
    return model.model_fields[name].description or next(filter(None, described), "")


@functools.cache
def _docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings under the attributes of a class; none of one that has no source."""
    body = _tree(kind.__module__).body
    for part in kind.__qualname__.split("."):
        named = [each for each in body if getattr(each, "name", "") == part]
        body = getattr(named[-1], "body", []) if named else []
    return dict(filter(None, map(_docstring, body, body[1:])))


def _docstring(field: ast.stmt, below: ast.stmt) -> tuple[str, str] | None:
    """Return the name of a field and the docstring below it; None for other statements."""
    match field, below:
        case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(text))):
            return name, inspect.cleandoc(text)
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module that is loaded; an empty one without its source."""
    try:
        return ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):
        return ast.parse("")
