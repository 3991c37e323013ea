"""The JSON Schema of plans: editors complete keys, show their meaning and mark what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.errors import UserError
from common.experiment import Experiment
from common.plan.base_files import FROM
from common.plan.document import Configuration, PlanDocument
from common.registry import Registry
from common.run.folder import write_json

SCHEMA_PATH = Path(__file__).resolve().parents[2] / "experiment_plans/plan.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FROM_MEANS = "File, beside this one, whose keys come first; the keys here are laid over them."
_DOTTED = {"pattern": r"\."}
"""Names that are paths into nested objects; those are checked when the plan is read."""


def plan_schema(experiments: Registry[Experiment]) -> dict[str, Any]:
    """The schema of plan files, with the keys of every registered experiment."""
    configs = {name: experiments.get(name).config for name in experiments.names()}
    models: list[type[BaseModel]] = [PlanDocument, Configuration, *configs.values()]
    # No two models share a name, so each stands under its own among the definitions.
    _, generated = models_json_schema([(model, "validation") for model in models])
    definitions = generated["$defs"]
    plan = definitions.pop(PlanDocument.__name__)
    plan["properties"]["configurations"]["items"] = definitions.pop(Configuration.__name__)
    default = PlanDocument.model_fields["experiment"].default
    plan["allOf"] = []
    for name, config in configs.items():
        keys = definitions[config.__name__]
        keys.pop("required", None)  # may be given by options, seeds and set
        definitions[name] = _configuration(config.__name__, keys["properties"])
        plan["allOf"] += _rules(name, name == default)
    return {"$schema": _DIALECT, **plan, "$defs": definitions}


def _configuration(model: str, keys: dict[str, Any]) -> dict[str, Any]:
    """What a configuration of one experiment may say.

    Where values are spread over a file, dotted paths and options, nested objects are looked at
    when the plan is read; only the names of keys are checked then.
    """
    names = {key: {"description": value.get("description", "")} for key, value in keys.items()}
    spread = {
        "properties": {FROM: {"type": "string", "description": _FROM_MEANS}, **names},
        "patternProperties": {_DOTTED["pattern"]: {}},
        "additionalProperties": False,
    }
    lists = {
        key: {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": f"#/$defs/{model}/properties/{key}"},
            **described,
        }
        for key, described in names.items()
    }
    options = {
        "properties": lists,
        "patternProperties": {_DOTTED["pattern"]: {"type": "array", "minItems": 1}},
        "additionalProperties": False,
    }
    no_paths = {"propertyNames": {"not": _DOTTED}}
    plain = {"base_config": {"not": {"required": [FROM]}, **no_paths}, "options": no_paths}
    return {
        "properties": {"options": options},
        "if": {"properties": plain},
        "then": {"properties": {"base_config": {"$ref": f"#/$defs/{model}"}}},
        "else": {"properties": {"base_config": spread}},
    }


def _rules(name: str, is_default: bool) -> list[dict[str, Any]]:
    """Which keys a configuration may have: by its own experiment, or else by the plan's."""
    then = {"$ref": f"#/$defs/{name}"}
    named = {"properties": {"experiment": {"const": name}}, "required": ["experiment"]}
    unnamed = {"not": {"required": ["experiment"]}}
    by_plan = {"anyOf": [named, unnamed]} if is_default else named
    return [
        {"properties": {"configurations": {"items": {"if": named, "then": then}}}},
        {
            "if": by_plan,
            "then": {"properties": {"configurations": {"items": {"if": unnamed, "then": then}}}},
        },
    ]


def write_schema(path: Path, experiments: Registry[Experiment]) -> None:
    """Writes the schema to ``path``.

    Raises:
        UserError: there is no such folder.
    """
    if not path.parent.is_dir():
        raise UserError(f"--write_schema {path}: no such folder; make it, or give another file")
    write_json(path, plan_schema(experiments))
