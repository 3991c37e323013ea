"""The plan file: its keys, reading it, and what the command line changes in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Strict

from common.config import Config, resolve
from common.errors import ConfigError, Problem, UserError
from common.nested import with_value
from common.run_config import GpuIds

AnyList = Annotated[tuple[Any, ...], Strict(False)]


class Configuration(Config):
    """A set of runs: the product of ``options`` and ``seeds`` over ``base_config``."""

    id: Annotated[str, Field(pattern=r"^[\w-]+$")] | None = None
    """Name of this stage, for references ``"@<id>.<file>"`` of later ones."""
    experiment: str | None = None
    """What the runs are; by default the plan's."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(False)] | None = None
    """One run per seed s, with every seed key of the experiment set to s."""
    base_config: dict[str, Any] = Field(default_factory=dict)
    """Keys that all runs share."""
    options: dict[str, AnyList] = Field(default_factory=dict)
    """Lists of values by key; the runs are their product, the last key varying fastest."""

    def problems(self) -> Iterator[Problem]:
        """Directions without a value, of which the product would be no run at all."""
        for key, values in self.options.items():
            if not values:
                yield Problem("an option needs at least one value", f"options.{key}", [])
        if self.seeds is not None and not self.seeds:
            yield Problem("needs at least one seed", "seeds", [])


class PlanDocument(Config):
    """A plan file: which runs to make, how to schedule them, what to draw from them."""

    schema_: str | None = Field(default=None, alias="$schema")
    """Where the JSON Schema stands, for editors."""
    name: str = ""
    """Name of the plan, for people; its folder is named after its file."""
    description: str = ""
    """What the plan is for."""
    experiment: str = "sft_vs_rft"
    """What the runs are, where a configuration does not say."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Number of leading runs (of the whole product, repetitions not counted) to leave out."""
    repetitions: Annotated[int, Field(gt=0)] = 1
    """How often each run is made; repetition k adds k to ``random_seed``."""
    largest: bool = True
    """Whether a larger score is better; where it is not written, the runs' ``score_largest``."""
    multiprocess: bool = False
    """Whether runs get worker processes of their own."""
    num_parallel: Annotated[int, Field(gt=0)] = 1
    """How many runs are made at a time, with ``multiprocess``."""
    vectorize: bool = False
    """Whether runs that differ only in numbers and seeds are trained together, as one batched model
    in one slot. Each keeps its own folder; results are equal within float tolerance."""
    gpu_ids_pool: GpuIds = ()
    """GPUs to share among the slots; empty for the CPU."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(False)] | None = None
    """Seeds of every configuration that has none of its own."""
    figures: AnyList = ()
    """Figures drawn when the plan ends: names, or objects ``{"figure": name, option: value}``."""
    configurations: Annotated[tuple[dict[str, Any], ...], Strict(False), Field(min_length=1)]
    """The sets of runs."""

    def figure_requests(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and options of each figure; the name is empty where none is given."""
        requests = []
        for entry in self.figures:
            options = dict(entry) if isinstance(entry, dict) else {"figure": entry}
            requests.append((str(options.pop("figure", "")), options))
        return requests


def read_plan_file(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        UserError: there is no such file, it is not JSON (line and column are named), a key
            stands twice, or it is not an object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_duplicates)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a plan with --plan_config_path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a JSON object with 'configurations'")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"'{twice[0]}' stands twice in one object; keep one of them")
    return dict(pairs)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Key and value of a ``--set key=value``; the value is JSON where it can be, else text.

    Raises:
        UserError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value, for example --set epochs=10")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The overrides of plan keys, and those of configuration keys."""
    plan_keys = {field.alias or name for name, field in PlanDocument.model_fields.items()}
    own = {key: value for key, value in overrides.items() if key in plan_keys}
    return own, {key: value for key, value in overrides.items() if key not in plan_keys}


def parse_document(
    source: str, raw: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[PlanDocument, list[Configuration]]:
    """The plan and its configurations, checked; ``overrides`` of plan keys are laid over.

    Raises:
        ConfigError: with everything that is wrong with their own keys.
    """
    values = dict(raw)
    for key, value in overrides.items():
        values = with_value(values, key, value)
    document, problems = resolve(PlanDocument, values)
    configurations: list[Configuration] = []
    entries = values.get("configurations")
    for position, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict):
            continue
        if "seeds" in overrides:
            entry = {key: value for key, value in entry.items() if key != "seeds"}
        configuration, wrong = resolve(Configuration, entry)
        problems += [problem.at(f"configurations[{position}]") for problem in wrong]
        configurations += [configuration] if configuration else []
    if problems or document is None:
        raise ConfigError(source, problems)
    return document, configurations
