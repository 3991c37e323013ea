"""Responses to a prompt with a preference, ranking or score, and the forms of rows that hold them.

Rows may have one of these forms; ``prompt`` may be called ``query``. A text may be a text, a list
of token ids, or a list of messages with ``content``:

* ``prompt``, ``chosen``, ``rejected``, perhaps with ``chosen_rating`` and ``rejected_rating``;
* ``prompt``, ``samples`` (a list) or ``sample0``, ``sample1`` ..., and ``best``, the position of
  the preferred one, perhaps with ``ratings``;
* ``prompt``, ``sample0``, ``sample1``, ``difference``: how much better the second one is;
* ``prompt``, ``sample``, ``score``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from grue.tasks.sources.raw_rows import place_of
from grue.tasks.task import Sample

Row = Mapping[str, Any]
Decode = Callable[[Sequence[int]], str]
Scale = tuple[float, float]

_FORMS = (
    "chosen and rejected; samples (or sample0, sample1, ...) and best; sample0, sample1 and "
    "difference; sample and score"
)
_NUMBERED = re.compile(r"sample(\d+)")


@dataclass(frozen=True)
class Choice:
    """n responses to one prompt, with a preference, ratings or a difference."""

    prompt: str
    responses: tuple[str, ...]
    best: int | None = None
    """Position of the preferred response."""
    ratings: tuple[float, ...] | None = None
    """[n] rating of each response."""
    difference: float | None = None
    """Rating of the second of two responses minus that of the first."""

    def __post_init__(self) -> None:
        """Raise `UserError` if the parts contradict each other."""
        count = len(self.responses)
        if self.best is not None and not (_is_whole(self.best) and 0 <= self.best < count):
            raise UserError(f"'best' = {self.best!r}: must be one of 0 to {count - 1}, the "
                            f"positions of the {count} samples")  # fmt: skip
        if self.ratings is not None and len(self.ratings) != count:
            raise UserError(f"'ratings': there are {len(self.ratings)} for {count} samples")
        for name, value in self._numbers():
            if not _is_number(value):
                raise UserError(f"'{name}' = {value!r}: must be a finite number")

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        yield from (("ratings", rating) for rating in self.ratings or ())
        if self.difference is not None:
            yield "difference", self.difference

    def check_scale(self, scale: Scale) -> None:
        """Raise `UserError` if a rating is outside the scale (smallest, largest)."""
        for rating in self.ratings or ():
            if not scale[0] <= rating <= scale[1]:
                raise UserError(f"the rating {rating:g} is outside 'rating_scale' = "
                                f"[{scale[0]:g}, {scale[1]:g}]")  # fmt: skip

    def as_sample(self, name: str) -> Sample:
        """Return a sample: the preferred response as its reference, the others as metadata."""
        references = () if self.best is None else (self.responses[self.best],)
        known = {"best": self.best, "ratings": self.ratings, "difference": self.difference}
        given = {key: value for key, value in known.items() if value is not None}
        return Sample(name, self.prompt, references, {"responses": self.responses, **given})


def choice_of(sample: Sample) -> Choice:
    """Return the choice in a sample's metadata, see `Choice.as_sample`.

    Raises:
        UserError: the metadata contain no responses.
    """
    known = sample.metadata
    if not known.get("responses"):
        raise UserError(
            f"sample '{sample.id}' has no 'responses' in its metadata; choose a task with "
            "preferences, such as 'preferences' or 'ranked_samples'"
        )
    ratings = known.get("ratings")
    return Choice(
        sample.prompt,
        tuple(known["responses"]),
        known.get("best"),
        None if ratings is None else tuple(ratings),
        known.get("difference"),
    )


def choices_of_rows(
    rows: Iterable[Row], where: str, *, decode: Decode, scale: Scale | None = None
) -> list[Choice]:
    """Return the choices of the rows, in their order.

    Args:
        rows: rows of one form.
        where: beginning of error messages.
        decode: returns the text of token ids.
        scale: smallest and largest rating.

    Raises:
        UserError: a row has another form, too few or too many samples, or a wrong value.
    """
    found: list[Choice] = []
    for number, row in enumerate(rows, start=1):
        try:
            choice = _choice(row, decode)
            if scale is not None:
                choice.check_scale(scale)
            if found and len(choice.responses) != len(found[0].responses):
                raise UserError(f"has {len(choice.responses)} samples, the first row has "
                                f"{len(found[0].responses)}; give all rows as many")  # fmt: skip
        except UserError as error:
            raise UserError(f"{where}, {place_of(row, number)}: {error}") from None
        found.append(choice)
    return found


def _choice(row: Row, decode: Decode) -> Choice:
    row = {name: value for name, value in row.items() if value is not None}
    if "chosen" in row and "rejected" in row:
        return _pair(row, decode)
    if "best" in row:
        ratings = tuple(_list(row, "ratings")) if "ratings" in row else None
        return Choice(_prompt(row, decode), _samples(row, decode), row["best"], ratings)
    if "difference" in row:
        return Choice(_prompt(row, decode), _samples(row, decode, 2), difference=row["difference"])
    if "sample" in row and "score" in row:
        response = _text(row["sample"], decode)
        return Choice(_prompt(row, decode), (response,), ratings=(row["score"],))
    raise UserError(f"needs a prompt with {_FORMS}; found {', '.join(row) or 'nothing'}")


def _pair(row: Row, decode: Decode) -> Choice:
    """Return two rated responses; the turns before the last one are the prompt."""
    rated = [row[name] for name in ("chosen_rating", "rejected_rating") if name in row]
    sides = [row["chosen"], row["rejected"]]
    before = sides[0][:-1] if _is_messages(sides[0]) else []
    prompt = _text(before, decode) if before else _prompt(row, decode)
    responses = [_text(side[-1:] if _is_messages(side) else side, decode) for side in sides]
    return Choice(prompt, tuple(responses), 0, tuple(rated) if len(rated) == 2 else None)


def _prompt(row: Row, decode: Decode) -> str:
    given = [row[name] for name in ("prompt", "query") if name in row]
    if not given:
        raise UserError(f"needs the column 'prompt' or 'query'; found {', '.join(row)}")
    return _text(given[0], decode)


def _samples(row: Row, decode: Decode, count: int | None = None) -> tuple[str, ...]:
    """Return the responses of a row; ``count`` is their required number, None for two or more."""
    if "samples" in row:
        given = _list(row, "samples")
    else:
        numbers = sorted(int(m[1]) for m in map(_NUMBERED.fullmatch, row) if m is not None)
        missing = set(range(max([*numbers, (count or 2) - 1]) + 1)) - set(numbers)
        if missing:
            raise UserError(f"'sample{min(missing)}' is missing; found {', '.join(row)}")
        given = [row[f"sample{number}"] for number in numbers]
    if len(given) < 2 or (count is not None and len(given) != count):
        wanted = f"{count}" if count is not None else "at least 2"
        raise UserError(f"has {len(given)} samples; needs {wanted}")
    return tuple(_text(sample, decode) for sample in given)


def _list(row: Row, name: str) -> Sequence[Any]:
    given = row[name]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UserError(f"'{name}' = {given!r}: must be a list")
    return given


def _text(value: Any, decode: Decode) -> str:
    """Return a text, the text of token ids, or the contents of messages joined by spaces."""
    if isinstance(value, str):
        return value
    if _is_messages(value):
        return " ".join(message["content"] for message in value)
    if isinstance(value, Sequence) and all(map(_is_whole, value)):
        if any(token < 0 for token in value):
            raise UserError(f"found the token id {min(value)}; ids are 0 or more")
        return decode(value)
    raise UserError(f"expected a text, a list of token ids or a list of messages, found {value!r}")


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(
        isinstance(message, Mapping) and isinstance(message.get("content"), str)
        for message in value
    )  # fmt: skip


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
