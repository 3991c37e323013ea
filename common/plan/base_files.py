"""``base_config`` that begins with another file: ``{"from": "file.yml", ...overrides}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import Problem, UserError
from common.files.documents import read_object
from common.key_paths import merged
from common.plan.duplicate_keys import twins_in_keys

FROM = "from"
"""The key that names the file, relative to the one it stands in."""


def with_bases(configurations: list[Any], folder: Path) -> tuple[list[Any], dict[int, Problem]]:
    """The configurations with whole base configs, and by position what cannot be read.

    Args:
        configurations: as a plan file in ``folder`` holds them; ill-formed ones are kept.
        folder: where relative paths begin.
    """
    whole, unread = [], {}
    for position, content in enumerate(configurations):
        base = content.get("base_config") if isinstance(content, dict) else None
        if isinstance(base, dict):
            try:
                content = {**content, "base_config": whole_base(base, folder)}
            except UserError as error:
                problem = Problem(str(error), f"base_config.{FROM}", base.get(FROM))
                unread[position] = problem.at(f"configurations[{position}]")
        whole.append(content)
    return whole, unread


def whole_base(values: Mapping[str, Any], folder: Path, above: tuple[Path, ...] = ()) -> Any:
    """The keys that ``values`` describe: those of the file it begins with, and its own over them.

    Objects are merged and everything else is replaced; own keys may be dotted paths. The file may
    hold the keys of a run or a plan of one configuration, and begin with another file itself.

    Raises:
        UserError: a file on the way cannot be read, describes no single run, or begins with itself.
    """
    if FROM not in values:
        return merged({}, values)
    name = values[FROM]
    if not isinstance(name, str):
        raise UserError("expected the path of a file, in quotes")
    path = (folder / name).resolve()
    if path in above:
        ring = " -> ".join(part.name for part in (*above[above.index(path) :], path))
        raise UserError(f"the files begin with each other: {ring}; break the ring")
    if not path.is_file():
        raise UserError(f"no such file beside the one that names it; looked for {path}")
    inherited = whole_base(_keys_of_run(path), path.parent, (*above, path))
    return merged(inherited, {key: value for key, value in values.items() if key != FROM})


def _keys_of_run(path: Path) -> dict[str, Any]:
    """The keys of a run in ``path``: the whole file, or the base of its only configuration."""
    document = read_object(path)
    if "configurations" not in document:
        return _said_once(path, document)
    configurations = document["configurations"]
    (only,) = configurations if _is_one_object(configurations) else ({},)
    base = only.get("base_config")
    if not isinstance(base, dict) or only.get("options") or document.get("set"):
        raise UserError(
            f"{path} must hold the keys of a run, or a plan of one configuration with nothing but "
            "'base_config' for its keys"
        )
    return _said_once(path, base)


def _said_once(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    for problem in twins_in_keys(values):
        raise UserError(f"{path}: {problem}")
    return values


def _is_one_object(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)
