"""JSON Schema of plans, with which editors complete, explain and check keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.config.meanings import SchemaWithMeanings
from common.custom.user_code import CUSTOM
from common.errors import UserError
from common.experiment import Experiment
from common.plan.base_config_files import BASE, FROM
from common.plan.document import Configuration, PlanDocument
from common.registry import Registry
from common.run.folder import write_json

SCHEMA_PATH = Path(__file__).resolve().parents[2] / "experiment_plans/plan.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FROM_MEANS = "File, beside this one, whose keys come first; the keys here are laid over them."
_DOTTED = {"pattern": r"\."}
"""Pattern of dotted names, which are checked when the plan is read."""


def plan_schema(experiments: Registry[Experiment]) -> dict[str, Any]:
    """Return the schema of plan files, with the keys of every registered experiment."""
    configs = {name: experiments.get(name).config for name in experiments.names()}
    models: list[type[BaseModel]] = [PlanDocument, Configuration, *configs.values()]
    # No two models share a name, so each stands under its own among the definitions.
    _, generated = models_json_schema(
        [(model, "validation") for model in models], schema_generator=SchemaWithMeanings
    )
    definitions = generated["$defs"]
    plan = definitions.pop(PlanDocument.__name__)
    plan["properties"]["configurations"]["items"] = definitions.pop(Configuration.__name__)
    default = PlanDocument.model_fields["experiment"].default
    plan["allOf"] = []
    of_all: dict[str, Any] = {}
    for name, config in configs.items():
        keys = definitions[config.__name__]
        keys.pop("required", None)  # may be given by options, seeds and set
        definitions[name] = _configuration(name, config.__name__)
        definitions[_over(name)] = _spread(config.__name__, keys["properties"])
        of_all = _with_common_meaning(of_all, keys["properties"])
        plan["allOf"] += _rules(name, name == default)
    plan["allOf"].append(_plan_base(of_all))
    return {"$schema": _DIALECT, **plan, "$defs": definitions}


def _over(name: str) -> str:
    """Return the definition's name of a configuration whose keys override others."""
    return f"{name}_over_others"


def _configuration(name: str, model: str) -> dict[str, Any]:
    """Return the schema of a configuration of one experiment.

    Nested objects are checked if the configuration gives them completely.
    """
    no_paths = {"propertyNames": {"not": _DOTTED}}
    plain = {"base_config": {"not": {"required": [FROM]}, **no_paths}, "options": no_paths}
    spread = f"#/$defs/{_over(name)}/properties"
    return {
        "properties": {"options": {"$ref": f"{spread}/options"}},
        "if": {"properties": plain, "not": {"required": ["extends"]}},
        "then": {"properties": {"base_config": {"$ref": f"#/$defs/{model}"}}},
        "else": {"properties": {"base_config": {"$ref": f"{spread}/base_config"}}},
    }


def _spread(model: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a configuration with keys in other places: a file, paths, options.

    Only the names of keys are checked here; nested objects are checked when the plan is read.
    """
    lists = {
        key: {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": f"#/$defs/{model}/properties/{key}"},
            **described,
        }
        for key, described in _described(keys).items()
    }
    options = {
        "properties": lists,
        "patternProperties": {_DOTTED["pattern"]: {"type": "array", "minItems": 1}},
        "additionalProperties": False,
    }
    return {"properties": {"base_config": _base(keys), "options": options}}


def _base(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a base, which checks only the names of keys."""
    return {
        "properties": {FROM: {"type": "string", "description": _FROM_MEANS}, **_described(keys)},
        "patternProperties": {_DOTTED["pattern"]: {}},
        "additionalProperties": False,
    }


def _described(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: {"description": value.get("description", "")} for key, value in keys.items()}


def _with_common_meaning(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of both; a key with two meanings has no description."""
    found = {**_described(first), **_described(second)}
    for key in first.keys() & second.keys():
        if first[key].get("description") != second[key].get("description"):
            found[key] = {"description": ""}
    return found


def _plan_base(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the rule of a plan's own base: any key of the project's experiments, or of its own."""
    custom = {"properties": {"experiment": {"pattern": f"^{CUSTOM}"}}, "required": ["experiment"]}
    in_any = {"properties": {"configurations": {"contains": custom}}}
    has_custom = {"anyOf": [custom, in_any]}
    return {"if": {"not": has_custom}, "then": {"properties": {BASE: _base(keys)}}}


def _rules(name: str, is_default: bool) -> list[dict[str, Any]]:
    """Return the rules of a configuration's keys: by its own experiment, or else by the plan's.

    The experiment that a configuration inherits is not resolved here.
    """
    named: dict[str, Any] = {
        "properties": {"experiment": {"const": name}},
        "required": ["experiment"],
    }
    unnamed = {"not": {"anyOf": [{"required": ["experiment"]}, {"required": ["extends"]}]}}
    by_plan: dict[str, Any] = named
    if is_default:
        by_plan = {"anyOf": [named, {"not": {"required": ["experiment"]}}]}
    over_base = {"required": [BASE]}
    return [
        {"if": over_base, "then": _of_each(named, _over(name)), "else": _of_each(named, name)},
        {
            "if": by_plan,
            "then": {
                "if": over_base,
                "then": _of_each(unnamed, _over(name)),
                "else": _of_each(unnamed, name),
            },
        },
    ]


def _of_each(condition: dict[str, Any], definition: str) -> dict[str, Any]:
    """Return the rule that every configuration with the condition fits the definition."""
    then = {"$ref": f"#/$defs/{definition}"}
    return {"properties": {"configurations": {"items": {"if": condition, "then": then}}}}


def write_schema(path: Path, experiments: Registry[Experiment]) -> None:
    """Write the schema to ``path``.

    Raises:
        UserError: the folder of ``path`` does not exist.
    """
    if not path.parent.is_dir():
        raise UserError(f"--write_schema {path}: no such folder; make it, or give another file")
    write_json(path, plan_schema(experiments))
