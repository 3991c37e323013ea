"""Fingerprints of a plan's runs, and runs that are equal."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.custom.hooks import asking
from common.custom.sources import modules_named, source_files
from common.custom.user_code import CUSTOM
from common.errors import Problem
from common.hashing import canonical_json, content_hash, fingerprint, text_hash
from common.key_paths import Key, assign, key_path
from common.plan.stages import inputs_of, is_reference

if TYPE_CHECKING:
    from common.plan.run import Run

FileHashes = Mapping[str, str]
"""Content hashes by path, of files that can be read."""


def hash_files(runs: Iterable[Run]) -> tuple[FileHashes, list[Problem]]:
    """Return the hashes of all input files except those that earlier stages make.

    The problems of missing files are returned too.
    """
    hashed = functools.cache(content_hash)
    hashes: dict[str, str] = {}
    problems = []
    for run in runs:
        for key, path in _own_files(run):
            try:
                hashes[path] = hashed(Path(path))
            except OSError as error:
                problems.append(Problem(_unreadable(path, error), key_path(key), path, run.where))
    return hashes, problems


def _unreadable(path: str, error: OSError) -> str:
    """Return why an input file, or one in an input folder, has no hash."""
    if os.path.lexists(path):
        return f"cannot be read: {error.filename}: {error.strerror}"
    hint = "; a reference has the form '@<id>.<file>'" if path.startswith("@") else ""
    return f"no such file or folder{hint}"


def identify(runs: Iterable[Run], hashes: FileHashes) -> list[Problem]:
    """Set the fingerprint of each of ``runs``, earlier stages first; return the equal ones.

    Source files of users' parts count by content. A run without such parts has the fingerprint of
    its configuration alone.

    Repetitions that draw their seeds are distinguished by their number. With given seeds, the
    number must not hide equal runs, so each is compared as if it were a first repetition.
    """
    seen: dict[str, Run] = {}
    problems: dict[Any, Problem] = {}
    files_of = functools.cache(source_files)
    for run in runs:
        identity = _identity(run, hashes)
        content = {"experiment": run.experiment, "config": identity}
        _refer(run, identity, lambda source: source.config_fingerprint)
        text = canonical_json({**content, "repetition": run.repetition})
        run.config_fingerprint = text_hash(text)
        modules = _modules(run, identity) if CUSTOM in text else []  # nearly all runs have none
        own = {file.name: file for module in modules for file in files_of(module)}
        run.sources = own | {
            name: file for one in run.references for name, file in one.run.sources.items()
        }
        if own:
            content["sources"] = {name: file.sha256 for name, file in own.items()}
        if run.sources:
            _refer(run, identity, lambda source: source.fingerprint)
            run.fingerprint = fingerprint({**content, "repetition": run.repetition})
        else:
            run.fingerprint = run.config_fingerprint
        as_first = run.fingerprint
        if run.repetition and run.config.random_seed is not None:
            as_first = fingerprint({**content, "repetition": 0})
        first = seen.setdefault(as_first, run)
        if first.repetition != run.repetition:  # one change of seeds mends all of them
            problems.setdefault((first.where, run.where), _equal_repetitions(first, run))
        elif first is not run:
            problems[run] = _equal(first, run)
    return list(problems.values())


def _own_files(run: Run) -> Iterator[tuple[Key, str]]:
    """Yield the input files that no earlier stage makes, with the paths of their keys."""
    for key, value in inputs_of(run):
        if not is_reference(value):
            yield key, value


def _identity(run: Run, hashes: FileHashes) -> dict[str, Any]:
    """Return all that can change the run's results; files count by content."""
    with asking(run.experiment, "identity()"):
        identity = dict(run.config.identity())
    for key, path in _own_files(run):
        if path in hashes:
            assign(identity, key, {"sha256": hashes[path]})
    return identity


def _refer(run: Run, identity: dict[str, Any], meaning: Callable[[Run], str]) -> None:
    """Replace references in the run's identity by the fingerprints of their runs."""
    for reference in run.references:
        assign(identity, reference.key, {"run": meaning(reference.run), "file": reference.file})


def _modules(run: Run, identity: Mapping[str, Any]) -> list[str]:
    """Return the modules of the users' parts that make the run."""
    named = [*modules_named(run.experiment), *modules_named(identity)]
    if run.experiment.startswith(CUSTOM):
        functions = (run.spec.run, run.spec.run_together)
        named += [path.partition(":")[0] for path in functions if path is not None]
    return list(dict.fromkeys(named))


def _equal(first: Run, run: Run) -> Problem:
    return Problem(
        f"two runs would be one (fingerprint {run.fingerprint[:8]}): {_shown(first)} "
        f"and {_shown(run)} differ in nothing that can change results; "
        "take one of them out",
        where=run.where,
    )


def _equal_repetitions(first: Run, run: Run) -> Problem:
    return Problem(
        f"two runs would be one: repetition {first.repetition} of {_shown(first)} and repetition "
        f"{run.repetition} of {_shown(run)}; repetition k adds k to 'random_seed', which makes it "
        f"{run.config.random_seed} in both; give seeds further apart, or take 'repetitions' out",
        where=run.where,
    )


def _shown(run: Run) -> str:
    point = ", ".join(f"{key}={value}" for key, value in run.point.items())
    return f"'{run.name}' of {run.where}" + (f" ({point})" if point else "")
