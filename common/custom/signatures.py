"""Signatures of users' functions and classes, compared with the calls to come."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from common.errors import UserError


def check_function(function: Callable[..., Any], name: str, *parameters: str) -> None:
    """Check that ``function`` takes a value for each of ``parameters``, in this order.

    A function without a signature, as some built-in ones, is not checked. ``name`` is its name in
    messages.

    Raises:
        UserError: it is no function, or takes other arguments; the message shows the right first
            line.
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
    """Check that ``found`` is a usable class derived from ``base``.

    ``advice`` says how to fix a class that is not; "" for no more than deriving it.

    Raises:
        UserError: it is no such class, or `check_class` refuses it.
    """
    right = f"{base.__module__}.{base.__qualname__}"
    if not (isinstance(found, type) and issubclass(found, base)):
        called = getattr(found, "__qualname__", None) or repr(found)
        raise UserError(f"{called} is no {right}{advice or '; give a class derived from that'}")
    check_class(found, base)


@functools.cache
def check_class(found: type[Any], base: type[Any]) -> None:
    """Check that a class derived from ``base`` can be made and called as ``base`` is.

    Raises:
        UserError: it lacks methods, or some take other arguments; the message shows the right first
            lines.
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
    """Yield the signatures of the class's methods that override those of ``base``."""
    for name, method in vars(base).items():
        own = inspect.getattr_static(found, name)
        if inspect.isfunction(method) and inspect.isfunction(own) and own is not method:
            yield name, inspect.signature(own)


def _fits(own: inspect.Signature, wanted: inspect.Signature) -> bool:
    """Return whether ``own`` accepts all positional and keyword arguments of ``wanted``."""
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
    """Return whether arguments named as ``places`` are in other positions than expected."""
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
    """Return the signature without the types."""
    empty = inspect.Parameter.empty
    bare = [one.replace(annotation=empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=empty))
