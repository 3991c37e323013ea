"""The JSON Schema of plans: editors complete keys, show their meaning and mark what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.errors import UserError
from common.experiment import Experiment
from common.plan_document import Configuration, PlanDocument
from common.registry import Registry
from common.run_folder import write_json

SCHEMA_PATH = Path(__file__).resolve().parent.parent / "experiment_plans/plan.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DOTTED = r"\."
"""Keys of options may be paths into nested objects; those are checked when the plan is read."""


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
    plan["allOf"] = [
        rule
        for name, config in configs.items()
        for rule in _rules(name, name == default, definitions.pop(config.__name__))
    ]
    return {"$schema": _DIALECT, **plan} | ({"$defs": definitions} if definitions else {})


def _rules(name: str, is_default: bool, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Which keys a configuration may have: by its own experiment, or else by the plan's."""
    keys = config["properties"]
    then = {
        "properties": {
            "base_config": {"properties": keys, "additionalProperties": False},
            "options": {
                "properties": {
                    key: {
                        "type": "array",
                        "minItems": 1,
                        "items": value,
                        "description": value.get("description", ""),
                    }
                    for key, value in keys.items()
                },
                "patternProperties": {_DOTTED: {"type": "array", "minItems": 1}},
                "additionalProperties": False,
            },
        }
    }
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
