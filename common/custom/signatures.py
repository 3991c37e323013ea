"""Functions and classes of the user's, compared with how they will be called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from common.errors import UserError


def check_function(function: Callable[..., Any], name: str, *parameters: str) -> None:
    """Does nothing where ``function`` takes a value for each of ``parameters``, in this order.

    A function that does not tell what it takes, as some built-in ones, is not looked at. ``name``
    is what the message calls it.

    Raises:
        UserError: it is no function, or takes something else; the right first line is shown.
    """
    if not callable(function):
        raise UserError(f"'{name}' is no function")
    found = _signature(function)
    if found is None:
        return
    if not _takes(found, parameters, {}) or _takes_elsewhere(found, parameters):
        right = f"def {getattr(function, '__name__', 'function')}({', '.join(parameters)})"
        raise UserError(f"'{name}' takes {_plain(found)}; write {right}")


def check_part(found: Any, base: Any, advice: str = "") -> None:
    """Does nothing where ``found`` is a class derived from ``base`` that can be used as such.

    ``advice`` is what to do about one that is not; "" for no more than deriving it.

    Raises:
        UserError: it is something else, or `check_class` finds it wrong.
    """
    right = f"{base.__module__}.{base.__qualname__}"
    if not (isinstance(found, type) and issubclass(found, base)):
        called = getattr(found, "__qualname__", None) or repr(found)
        raise UserError(f"{called} is no {right}{advice or '; give a class derived from that'}")
    check_class(found, base)


@functools.cache
def check_class(found: type[Any], base: type[Any]) -> None:
    """Does nothing where a class derived from ``base`` can be made and called as ``base`` is.

    Raises:
        UserError: it lacks methods, or some take something else; their right first lines are shown.
    """
    lacks = [f"lacks {_right(base, name)}" for name in sorted(_abstract(found))]
    others = [
        f"has {name}{_plain(own)} where it needs {_right(base, name)}"
        for name, own in _own_methods(found, base)
        if not _fits(own, inspect.signature(getattr(base, name)))
    ]
    if lacks or others:
        raise UserError(f"{found.__qualname__} {', and '.join([*lacks, *others])}")


def _abstract(found: type[Any]) -> frozenset[str]:
    return getattr(found, "__abstractmethods__", frozenset())


def _own_methods(found: type[Any], base: type[Any]) -> Iterator[tuple[str, inspect.Signature]]:
    """The signatures of the class's methods in the place of those of ``base``."""
    for name, method in vars(base).items():
        own = inspect.getattr_static(found, name)
        if inspect.isfunction(method) and inspect.isfunction(own) and own is not method:
            yield name, inspect.signature(own)


def _fits(own: inspect.Signature, wanted: inspect.Signature) -> bool:
    """Whether what ``wanted`` takes, by place and by keyword, can be given to ``own``."""
    parameters = wanted.parameters.values()
    by_place = [one.name for one in parameters if one.kind in _BY_PLACE]
    by_keyword = {one.name: None for one in parameters if one.kind is one.KEYWORD_ONLY}
    return _takes(own, by_place, by_keyword)


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _takes(signature: inspect.Signature, places: Any, keywords: dict[str, Any]) -> bool:
    try:
        signature.bind(*places, **keywords)
    except TypeError:
        return False
    return True


def _takes_elsewhere(signature: inspect.Signature, places: Sequence[str]) -> bool:
    """Whether something called like one of ``places`` stands where another one is handed over."""
    own = [one.name for one in signature.parameters.values() if one.kind in _BY_PLACE]
    return any(name in places and name != place for name, place in zip(own, places, strict=False))


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _right(base: type[Any], name: str) -> str:
    return f"def {name}{_plain(inspect.signature(getattr(base, name)))}"


def _plain(signature: inspect.Signature) -> str:
    """The signature without the types."""
    empty = inspect.Parameter.empty
    bare = [one.replace(annotation=empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=empty))
