"""``base_config`` read from a file: ``{"from": "file.yml", ...overrides}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import Problem, UserError
from common.files.documents import read_object
from common.files.paths import is_file
from common.key_paths import merged
from common.plan.duplicate_keys import twins_in_keys

FROM = "from"
"""Key that names the file, relative to the file that holds the key."""
BASE = "base_config"
"""Key of the base, of a configuration and of a plan."""

Parts = list[tuple[str, dict[str, Any]]]
"""Keys by the file that gives them, the lowest first; the file's name is empty for own keys."""


@dataclass(frozen=True)
class Bases:
    """Content of a plan with complete base configs, and the parts of each base.

    Parts are listed by the configuration's position, those of the plan's own base at None.
    """

    values: dict[str, Any]
    parts: dict[int | None, Parts]
    unread: dict[int | None, Problem]
    """Problems of bases that cannot be read."""


def with_bases(values: dict[str, Any], folder: Path) -> Bases:
    """Return ``values`` with complete base configs; malformed ones are kept.

    Args:
        values: content of a plan file in ``folder``.
        folder: base of relative paths.
    """
    found = Bases({}, {}, {})
    plan = _with_base(values, None, folder, found)
    if isinstance(plan.get("configurations"), list):
        plan["configurations"] = [
            _with_base(content, position, folder, found)
            for position, content in enumerate(plan["configurations"])
        ]
    return Bases(plan, found.parts, found.unread)


def _with_base(content: Any, position: int | None, folder: Path, found: Bases) -> Any:
    """Return a plan or configuration with its complete base; record its parts in ``found``."""
    base = content.get(BASE) if isinstance(content, dict) else None
    if not isinstance(base, dict):
        return dict(content) if isinstance(content, dict) else content
    try:
        parts = base_parts(base, folder)
    except UserError as error:
        key = f"{BASE}.{FROM}"
        where = "" if position is None else f"configurations[{position}]"
        found.unread[position] = Problem(str(error), key, base.get(FROM), where)
        return dict(content)
    found.parts[position] = parts
    return {**content, BASE: _laid(parts)}


def base_parts(values: Mapping[str, Any], folder: Path, above: tuple[Path, ...] = ()) -> Parts:
    """Return the keys that ``values`` describe: those of the named file, then its own.

    Objects are merged and everything else is replaced; keys may be dotted paths. The file may hold
    the keys of a run or a plan of one configuration, and name another file itself.

    Raises:
        UserError: one of the files cannot be read, describes no single run, or refers to itself.
    """
    own = ("", merged({}, {key: value for key, value in values.items() if key != FROM}))
    if FROM not in values:
        return [own]
    name = values[FROM]
    if not isinstance(name, str):
        raise UserError("expected the path of a file, in quotes")
    beside = folder / name
    if not is_file(beside):
        raise UserError(
            f"no such file beside the one that names it; looked for {beside.absolute()}"
        )
    path = beside.resolve()
    if path in above:
        ring = " -> ".join(part.name for part in (*above[above.index(path) :], path))
        raise UserError(f"the files begin with each other: {ring}; break the ring")
    inherited = [
        (file or name, keys)
        for base in _bases_in(path)
        for file, keys in base_parts(base, path.parent, (*above, path))
    ]
    return [*inherited, own]


def _laid(parts: Parts) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _, keys in parts:
        values = merged(values, keys)
    return values


def _bases_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the keys of a run in ``path``: the whole file, or the bases of its one configuration.

    The plan's own base comes first, because its configuration's base overrides it.
    """
    document = read_object(path)
    if "configurations" not in document:
        yield _said_once(path, document)
        return
    configurations = document["configurations"]
    (only,) = configurations if _is_one_object(configurations) else ({},)
    bases = [document.get(BASE, {}), only.get(BASE, {} if BASE in document else None)]
    if (
        not all(isinstance(base, dict) for base in bases)
        or only.get("options")
        or document.get("set")
    ):
        raise UserError(
            f"{path} must hold the keys of a run, or a plan of one configuration with nothing but "
            "'base_config' for its keys"
        )
    for base in bases:
        if base:
            yield _said_once(path, base)


def _said_once(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    for problem in twins_in_keys(values):
        raise UserError(f"{path}: {problem}")
    return values


def _is_one_object(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)
