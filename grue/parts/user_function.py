"""Users' functions that score texts: calls in batches, and messages that name the failing text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.custom.user_code import PartError, told
from common.errors import UserError
from grue.parts.token_numbers import pad_stack
from grue.texts import Texts

UserFunction = Callable[..., Any]
"""Function ``f(prompts, outputs, references, metadata)``, each with N entries, that returns N
numbers; a reward may take ``tokens`` too."""

PARAMETERS = ("prompts", "outputs", "references", "metadata")
TOKENS = "tokens"
"""Further parameter of a reward that needs the outputs' tokens."""

_SHOWN = 60
_ONE_EACH = "return a list with one number for each"


class _Wrong(Exception):
    """Error of the function's answer for some texts."""

    def __init__(self, message: str, row: int | None = None) -> None:
        """Set the message, and the position of the text that it concerns, if that is known."""
        super().__init__(message)
        self.row = row


class _Miscounted(_Wrong):
    """Error of an answer with the wrong number of numbers."""


def takes_tokens(function: UserFunction) -> bool:
    """Return whether the function has a parameter for the outputs' tokens."""
    try:
        return TOKENS in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False


def of_columns(function: UserFunction) -> Callable[[Texts], Any]:
    """Return the user's function as one of texts."""
    names = (*PARAMETERS, TOKENS) if takes_tokens(function) else PARAMETERS

    def of_texts(texts: Texts) -> Any:
        return function(*(getattr(texts, name) for name in names))

    return of_texts


def scores_of(
    function: Callable[[Texts], Any], texts: Texts, *, per_token: bool, name: str
) -> NDArray[np.float64]:
    """Return [N] the function's scores of the texts; [N, T] too if ``per_token`` allows it.

    One column [N, 1], the usual output of a model's head, means [N]. A list of one array per output
    is padded to [N, T]. Scores may be torch tensors on any device. ``name`` is the function's name
    in messages.

    Raises:
        PartError: the function raises an error, or does not return finite numbers (in float32 too)
            of that shape. Where it raises an error, halves of the texts are tried until a single
            failing one is found. A `UserError` of the function is raised unchanged.
        UserError: an output has another number of tokens, or is rewarded after its end.
    """
    if not len(texts):
        return np.zeros(0)
    try:
        values, widths = _answer(function, texts, per_token)
    except _Wrong as wrong:
        part, reason = _smallest(function, texts, wrong, per_token)
        if isinstance(wrong, _Miscounted):
            raise PartError(f"'{name}' {wrong}; wrong {_place(part)}") from None
        told = f"'{name}' {reason} {_place(part)} (of {len(texts)} outputs)"
        raise PartError(told) from reason.__cause__
    if widths is not None and texts.num_tokens is not None:
        _check_widths(values, widths, texts, texts.num_tokens, name)
    return values


def _check_widths(
    values: NDArray[np.float64],
    widths: Sequence[int],
    texts: Texts,
    num_tokens: Sequence[int],
    name: str,
) -> None:
    """Check that scores per token, [N, T], are those of the outputs' tokens.

    ``widths`` are the [N] lengths of the rows before they were padded.
    """
    for row, (width, needed) in enumerate(zip(widths, num_tokens, strict=True)):
        if width < needed or values[row, needed:].any():
            found = f"{width}" if width < needed else f"{width}, not all zero after its end,"
            raise UserError(
                f"'{name}' gave {found} numbers for prompt {shown(texts.prompts[row])}, output "
                f"{shown(texts.outputs[row])}, which has {needed} tokens (its end-of-sequence "
                f"counts): return {len(texts)} numbers, one per output, or one for each token "
                "and zeros after them"
            )


def _answer(
    function: Callable[[Texts], Any], texts: Texts, per_token: bool
) -> tuple[NDArray[np.float64], Sequence[int] | None]:
    """Return the function's scores, checked, and [N] the lengths of their rows; None for [N]."""
    try:
        found = function(_copied(texts))
    except UserError:
        raise
    except Exception as error:
        raise _Wrong(f"raised {told(error)}") from error
    if found is None:
        raise _Miscounted(f"returned None for {_outputs(len(texts))}; {_ONE_EACH}")
    found, widths = _plain(found), None
    if isinstance(found, list) and any(number is None for number in found):
        if len(found) != len(texts):  # no text may be at that position
            raise _Miscounted(f"returned {len(found)} numbers for {_outputs(len(texts))}")
        raise _Wrong("gave None", [number is None for number in found].index(True))
    if per_token:
        found, widths = _padded(found)
    try:
        if np.asarray(found).dtype.kind in "SU":  # NumPy would read numbers out of texts
            raise TypeError
        values = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        raise _Wrong(f"gave no numbers: {str(found)[:_SHOWN]}") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    miscounted = _miscounted(values.shape, len(texts), per_token)
    if miscounted:
        raise _Miscounted(miscounted)
    _check_finite(values)
    if values.ndim == 1:
        return values, None
    return values, [values.shape[1]] * len(texts) if widths is None else widths


def _check_finite(values: NDArray[np.float64]) -> None:
    """Check that scores [N] or [N, T] are finite, in float32 too."""
    too_large = np.abs(values) > np.finfo(np.float32).max
    for are_wrong, what in ((~np.isfinite(values), ""),
                            (too_large, ", which is infinite in float32,")):  # fmt: skip
        if are_wrong.any():
            place = tuple(np.argwhere(are_wrong)[0])
            raise _Wrong(f"gave {values[place]}{what}", int(place[0]))


def _copied(texts: Texts) -> Texts:
    """Return the texts in lists of their own, which a function may change."""
    return replace(
        texts,
        prompts=list(texts.prompts),
        outputs=list(texts.outputs),
        references=[list(references) for references in texts.references],
        metadata=[dict(metadata) for metadata in texts.metadata],
    )


def _padded(found: Any) -> tuple[Any, Sequence[int] | None]:
    """Return rows of different lengths as an array, and their lengths; others as they are."""
    if not isinstance(found, list) or any(np.ndim(row) != 1 for row in found):
        return found, None
    widths = [len(row) for row in found]
    return (found, None) if len(set(widths)) <= 1 else (pad_stack(found), widths)


def _miscounted(shape: tuple[int, ...], num_texts: int, per_token: bool) -> str | None:
    """Return the problem of the number of scores."""
    if not shape:
        return f"returned a single number for {_outputs(num_texts)}; {_ONE_EACH}"
    if shape[0] != num_texts:
        what = "numbers" if len(shape) == 1 else "lists of numbers"
        return f"returned {shape[0]} {what} for {_outputs(num_texts)}"
    if len(shape) > (2 if per_token else 1):
        wanted = "one, or one per token" if per_token else "one"
        return f"returned {' x '.join(map(str, shape[1:]))} numbers for each output, not {wanted}"
    return None


def _outputs(count: int) -> str:
    return "1 output" if count == 1 else f"{count} outputs"


def _plain(found: Any) -> Any:
    """Return the answer without torch tensors, which NumPy cannot always read."""
    if hasattr(found, "detach"):
        return found.detach().double().cpu().numpy()
    if isinstance(found, (list, tuple)):
        return [_plain(part) for part in found]
    return found


def _smallest(
    function: Callable[[Texts], Any], texts: Texts, wrong: _Wrong, per_token: bool
) -> tuple[Texts, _Wrong]:
    """Return as few texts as the function fails for, and its error."""
    if wrong.row is not None:
        return texts[wrong.row : wrong.row + 1], wrong
    while len(texts) > 1:
        middle = len(texts) // 2
        for half in (texts[:middle], texts[middle:]):
            try:
                _answer(function, half, per_token)
            except _Wrong as found:
                if found.row is not None:
                    return half[found.row : found.row + 1], found
                texts, wrong = half, found
                break
        else:
            break  # it fails for both together only
    return texts, wrong


def _place(texts: Texts) -> str:
    """Return a description of the texts, by the first one."""
    where = f"for prompt {shown(texts.prompts[0])}, output {shown(texts.outputs[0])}"
    return where if len(texts) == 1 else f"for {len(texts)} outputs together, the first one {where}"


def shown(text: str) -> str:
    """Return a text in quotes, shortened to the length of a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def name_of(function: UserFunction) -> str:
    """Return the function's name in the plan."""
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{getattr(function, '__module__', '')}:{name}"
