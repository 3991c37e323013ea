"""Messages about values that do not fit their configuration model, and advice."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from common.errors import Problem
from common.key_paths import Key, key_path
from common.registry import suggestion

_MOST_PLACES = 3
_KNOWN = "; known: "
_NAMES = ("id", "model_name")
_OF_TAGS = ("union_tag_invalid", "union_tag_not_found")
_NO_OBJECT = (*_OF_TAGS, "model_type", "model_attributes_type")

Model = type[BaseModel]


class Chooser(Protocol):
    """A note on a field that finds models which the field's type does not name."""

    def chosen(self, value: Any) -> Model | None:
        """Return the model for ``value``, which may be wrong in any way."""


@dataclass(frozen=True)
class Form:
    """A whole configuration: its model, and the values to validate."""

    model: Model
    values: Any
    place_of: Callable[[str], str | None]
    """Function that returns the place of a key that the model does not know, or None."""

    def value_at(self, place: Key) -> Any:
        """Return the value at ``place``."""
        found = self.values
        for part in place:
            found = found[part]
        return found


def misfits(wrong: Mapping[Key, Sequence[ErrorDetails]], form: Form) -> list[Problem]:
    """Return the problems of ``form`` with fixes, from the errors ``wrong`` that pydantic found.

    A value that fits no member of a union has several errors at one place. A list of known keys is
    given once.
    """
    problems: list[Problem] = []
    told: set[str] = set()
    for place, errors in wrong.items():
        problem = _misfit(errors, place, form)
        head, known = problem.message.partition(_KNOWN)[::2]
        if known in told:
            problem = Problem(f"{head}; the known ones are named above", problem.key, problem.value)
        told |= {known} - {""}
        problems.append(problem)
    return problems


def _misfit(errors: Sequence[ErrorDetails], place: Key, form: Form) -> Problem:
    details, key = errors[0], key_path(place)
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return Problem("this key is required", key)
    if kind == "extra_forbidden":
        value = form.value_at(place)
        return Problem(_unknown_key(details["loc"], value, form), key, value)
    if kind in _OF_TAGS and isinstance(value, Mapping):
        return _unknown_member(details, key)
    if kind in _NO_OBJECT:
        return Problem(f"expected an object in {{ }}{_example(details, form)}", key, value)
    first, *others = dict.fromkeys(map(_explanation, errors))
    expected = [first, *(other.removeprefix("expected ") for other in others)]
    return Problem(" or ".join(expected), key, value)


def models_in(annotation: Any) -> Iterator[Model]:
    """Yield the configuration models that a type is, or has among its arguments."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _unknown_key(loc: Key, value: Any, form: Form) -> str:
    """Return the place of an unknown key, its name here, a similar known key, or all known keys."""
    name = str(loc[-1])
    if homes := _few_homes(form, name, value):
        return f"unknown key here; it belongs at {homes}"
    named = getattr(form.model, "names_elsewhere", {}).get(name)
    if named is not None and (homes := _few_homes(form, named, value)):
        return f"unknown key; here it is called {homes}"
    place = form.place_of(name)
    if place is not None:
        return f"unknown key here; it belongs {place}"
    models = _models_at(form, loc)
    known = list(dict.fromkeys(key for here in models for key in _key_names(here)))
    further = [key for here in models for key in getattr(here, "further_names", list)()]
    if not known:
        return "unknown key; nothing is set here"
    return f"unknown key{suggestion(name, known + further) or _KNOWN + ', '.join(known)}"


def _models_at(form: Form, loc: Key) -> list[Model]:
    """Return the models in which the last part of ``loc`` is a key.

    Several if a union's tag is wrong.
    """
    here: list[Model] = [form.model]
    annotation: Any = form.model
    values = form.values
    for part in loc[:-1]:
        fields = [field for model in here for field in _field(model, part)]
        if fields:
            annotation = Union[tuple(field.annotation for field in fields)]  # noqa: UP007
            values = values.get(part) if isinstance(values, Mapping) else None
            here = _chosen(fields, values) or list(models_in(annotation))
        elif isinstance(part, str):
            here = _tagged(annotation, part) or here
        elif isinstance(values, list | tuple):
            values = values[part]
    return here


def _chosen(fields: Iterable[FieldInfo], value: Any) -> list[Model]:
    """Return the problems that the choosers on the fields find in the value."""
    choosers = [note for field in fields for note in field.metadata if hasattr(note, "chosen")]
    return [model for chooser in choosers if (model := chooser.chosen(value)) is not None]


def _few_homes(form: Form, name: str, value: Any) -> str:
    """Return the places of the keys called ``name``; "" if there are none, or many.

    An object belongs only where its own keys are known.
    """
    homes = [path for path, field in _homes(form.model, form.values, name) if _knows(field, value)]
    return " or ".join(map(repr, homes)) if len(homes) <= _MOST_PLACES else ""


def _knows(field: FieldInfo, value: Any) -> bool:
    """Return whether the keys of the value, if it is an object, are those of a field's model."""
    return not isinstance(value, Mapping) or any(
        value.keys() <= set(_key_names(model)) for model in models_in(field.annotation)
    )


def _homes(
    model: Model, values: Any, name: str, above: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted paths of the keys called ``name``, of unions in the chosen member alone."""
    for key, field in _fields(model):
        path = f"{above}{key}"
        if key == name:
            yield path, field
        if not _is_list(field.annotation):
            value = values.get(key) if isinstance(values, Mapping) else None
            meant = _chosen([field], value) or _meant(field.annotation, value)
            for member in meant:
                yield from _homes(member, value, name, f"{path}.")


def _meant(annotation: Any, value: Any) -> list[Model]:
    """Return the model for ``value``; none if a union is ambiguous."""
    members = list(models_in(annotation))
    tag = value.get("id") if isinstance(value, Mapping) else None
    return members if len(members) == 1 else _tagged(annotation, tag)


def _fields(model: Model) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _field(model: Model, part: str | int) -> Iterator[FieldInfo]:
    yield from (field for key, field in _fields(model) if key == part)


def _key_names(model: Model) -> list[str]:
    return [key for key, _ in _fields(model)]


def _tagged(annotation: Any, tag: Any) -> list[Model]:
    """Return the members of a union with this tag, as a neighbouring key or as their ``id``."""
    members = _members(annotation)
    return [model for model, own in members if tag in (*own, *_tags_of(model))]


def _members(annotation: Any) -> Iterator[tuple[Model, list[str]]]:
    """Yield the members of a union, or of nested unions, with the tags beside them."""
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        tags = [note.tag for note in notes if isinstance(note, Tag)]
        for model, own in _members(inner):
            yield model, own or tags
    elif get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _members(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, []


def _tags_of(model: Model) -> Iterable[str]:
    field = model.model_fields.get("id")
    is_literal = field is not None and get_origin(field.annotation) is Literal
    return get_args(field.annotation) if field is not None and is_literal else ()


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list) or any(
        _is_list(argument) for argument in get_args(annotation)
    )


def _unknown_member(details: ErrorDetails, key: str) -> Problem:
    """Return the problem of a value whose tag names no configuration allowed at ``key``."""
    field = re.fullmatch(r"'(\w+)'", details["ctx"].get("discriminator", ""))
    tag = field[1] if field else "id"  # a function finds the tag
    known = re.findall(r"'([^']+)'", details["ctx"].get("expected_tags", ""))
    if not known:
        return Problem("this key is required", f"{key}.{tag}")
    name = details["input"].get(tag, "")
    close = suggestion(str(name), known)
    return Problem(f"unknown{close}; known: {', '.join(known)}", f"{key}.{tag}", name)


def _example(details: ErrorDetails, form: Form) -> str:
    """Return an example of an object with the text as its name; "" if the object has no name."""
    value = details["input"]
    known = {key for here in _models_at(form, (*details["loc"], "")) for key in _key_names(here)}
    name = next((key for key in _NAMES if key in known), None)
    if name is None or not isinstance(value, str):
        return ""
    return f", for example {json.dumps({name: value}, ensure_ascii=False)}"


def _explanation(details: ErrorDetails) -> str:
    """Return the problem of one value, with its fix."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "literal_error":
        known = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        close = suggestion(value, known.split(", ")) if isinstance(value, str) else ""
        return f"unknown{close}; known: {known}"
    if kind in ("int_type", "int_parsing"):
        return f"expected a whole number{_as_number(value, int)}"
    if kind in ("float_type", "float_parsing"):
        return f"expected a number{_as_number(value, float)}"
    fixed = {
        "int_from_float": "expected a whole number",
        "bool_type": "expected true or false",
        "string_type": "expected text in quotes",
        "list_type": "expected a list in [ ]",
        "tuple_type": "expected a list in [ ]",
        "dict_type": "expected an object in { }",
        "finite_number": "expected a finite number",
        "string_pattern_mismatch": "may hold letters, digits, _ and - only",
        "too_short": "needs at least one entry",
        "string_too_short": "is empty; write a name, or take the key out",
    }
    return fixed.get(kind) or details["msg"].removeprefix("Value error, ").replace(
        "Input should", "must"
    )


def _as_number(value: Any, kind: type[int] | type[float]) -> str:
    """Return advice on how to write a text that means a number of this kind."""
    if isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if not isinstance(value, str):
        return ""
    with suppress(ValueError):
        if isinstance(json.loads(value), kind | int) and not isinstance(json.loads(value), bool):
            return "; remove the quotes"
    with suppress(ValueError, OverflowError):
        return f"; write {json.dumps(kind(value), allow_nan=False)}"
    return ""
