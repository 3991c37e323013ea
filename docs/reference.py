"""Writes the reference of all keys, ``docs/keys.md``: ``python -m docs.reference``.

Types, defaults and meanings are those of the configuration models, by way of their JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import grue  # noqa: F401  registers its experiments
import plots
import sft_vs_rft  # noqa: F401  registers its experiments
from common.config.meanings import SchemaWithMeanings
from common.config.run import RunConfig
from common.experiment import EXPERIMENTS
from common.plan.document import Configuration, PlanDocument
from grue.metrics.metric import METRICS
from grue.rewards.reward import REWARDS
from grue.tasks.task import TASKS

PAGE = Path(__file__).with_name("keys.md")

Schema = dict[str, Any]

_OPENING = """\
# Keys

<!-- Written by `python -m docs.reference` from the configuration models; do not edit. -->

All keys that a plan may have, with type, default and meaning. [Plans](plans.md) tells how a plan
is made of them. In an editor [`plan.schema.json`](../experiment_plans/plan.schema.json) shows the
same.

* "None" in the text is `null` in a plan.
* "required" as a default means that the key must be given.
* A type that is a link is an object. Its default `{}` means the defaults of that object's keys.
"""

_PARTS = (
    ("Tasks", "`datapool.args`, by `datapool.id`.", TASKS),
    ("Rewards", "`reward_fn.args`, by `reward_fn.id`.", REWARDS),
    ("Metrics", "`args` of an entry of `metrics`, by its `id`.", METRICS),
)


def reference() -> str:
    """Return the text of the page."""
    sections = [_OPENING, *_of_plans(), *_of_experiments()]
    for title, lead, registry in _PARTS:
        args = {name: registry.get(name).Args for name in registry.names()}
        sections += [f"## {title}\n\n{lead}\n", *_of_parts(title, args)]
    figures = {name: plots.find(name).options for name in plots.FIGURES.names()}
    lead = "Options of an entry of `figures`, beside its key `figure`."
    return "\n".join([*sections, f"## Figures\n\n{lead}\n", *_of_parts("Figures", figures)])


def _of_plans() -> Iterator[str]:
    """Yield the sections of what a plan file, its configurations and objects in them say."""
    defs = _definitions([PlanDocument, Configuration])
    plan, configuration = (defs[model.__name__] for model in (PlanDocument, Configuration))
    yield f"## The plan\n\n{_text(plan['description'])}\n\n{_table(plan)}"
    yield f"## A configuration\n\n{_text(configuration['description'])}\n\n{_table(configuration)}"
    yield "## Objects of a plan\n\nThe keys of executors and resources.\n"
    yield from _of_objects(_references([plan, configuration], defs), defs)


def _of_experiments() -> Iterator[str]:
    """Yield the sections of `base_config`, by experiment, and of the objects in it."""
    configs = {name: EXPERIMENTS.get(name).config for name in EXPERIMENTS.names()}
    defs = _definitions(configs.values())
    models = {name: defs[config.__name__] for name, config in configs.items()}
    every = RunConfig.key_names()
    shared = {key: next(iter(models.values()))["properties"][key] for key in every}
    yield (
        "## Keys of every run\n\nOf `base_config`, whatever the experiment. The default of "
        f"`experiment_name` differs.\n\n{_table({'properties': shared})}"
    )
    for name, model in models.items():
        own = {key: value for key, value in model["properties"].items() if key not in shared}
        lead = f"## Experiment {name}\n\n{_text(model['description'])}\n"
        yield f"{lead}\n{_table({**model, 'properties': own})}"
    yield "## Objects\n\nThe keys of objects inside `base_config`.\n"
    yield from _of_objects(_references(list(models.values()), defs), defs)


def _of_objects(names: Iterable[str], defs: Mapping[str, Schema]) -> Iterator[str]:
    """Yield one section for each object."""
    for name in names:
        text = _text(defs[name].get("description", ""))
        yield f"### {name}\n\n{text}\n\n{_table(defs[name])}"


def _of_parts(title: str, models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Yield one section for each set of keys; parts with the same keys share it."""
    by_args: dict[type[BaseModel], list[str]] = {}
    for name, model in models.items():
        by_args.setdefault(model, []).append(name)
    objects: dict[str, Schema] = {}
    for args, names in by_args.items():
        schema = args.model_json_schema(schema_generator=SchemaWithMeanings)
        defs = schema.pop("$defs", {})
        objects |= {name: defs[name] for name in _references(schema, defs)}
        heading = f"### {title[:-1]} {', '.join(names)}"
        yield f"{heading}\n\n{_table(schema)}"
    yield from _of_objects(objects, objects)


def _definitions(models: Iterable[type[BaseModel]]) -> dict[str, Schema]:
    _, generated = models_json_schema(
        [(model, "validation") for model in models], schema_generator=SchemaWithMeanings
    )
    defs: dict[str, Schema] = generated["$defs"]
    for model in defs.values():
        for value in model.get("properties", {}).values():  # without words of its own, its object's
            named = defs.get(value.get("$ref", "").rpartition("/")[2], {})
            value.setdefault("description", named.get("description", ""))
    return defs


def _references(schema: Any, defs: Mapping[str, Schema]) -> list[str]:
    """Return the names of the objects that ``schema`` leads to, in order, each once."""
    found: dict[str, None] = {}

    def look(part: Any) -> None:
        if isinstance(part, dict):
            name = part.get("$ref", "").rpartition("/")[2]
            if name and name not in found:
                found[name] = None
                look(defs[name])
            for value in part.values():
                look(value)
        elif isinstance(part, list):
            for value in part:
                look(value)

    look(schema)
    return list(found)


def _table(schema: Schema) -> str:
    """Return the keys of an object as a table of Markdown."""
    properties: dict[str, Schema] = schema.get("properties", {})
    if not properties:
        return "No keys.\n"
    required = set(schema.get("required", ()))
    rows = [
        f"| `{key}` | {_type(value)} | {_default(value, key in required)} "
        f"| {_text(value.get('description', ''))} |"
        for key, value in properties.items()
    ]
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _default(schema: Schema, is_required: bool) -> str:
    if is_required:
        return "required"
    if "default" in schema:
        return f"`{json.dumps(schema['default'])}`"
    return "`{}`" if "$ref" in schema or schema.get("type") == "object" else "see right"


def _text(description: str) -> str:
    """Return the description in one line, fit for a cell of a table."""
    return " ".join(description.split()).replace("``", "`").replace("|", "\\|")


def _type(schema: Schema) -> str:
    """Return the type that ``schema`` describes, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    kind: str = schema.get("type", "any")
    if kind == "array":
        return _array(schema)
    if kind == "object":
        return _object(schema)
    words = {"boolean": "true or false", "string": "text", "integer": "whole number"}
    return words.get(kind, kind) + _bounds(schema)


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"list of {', '.join(map(_type, schema['prefixItems']))}"
    kind = "list of different" if schema.get("uniqueItems") else "list of"
    return f"{kind} {_type(schema.get('items', {}))}"


def _object(schema: Schema) -> str:
    if "id" in schema.get("properties", {}):
        return 'object with `"id": "custom:…"`'
    values = schema.get("additionalProperties")
    return f"object of {_type(values)}" if isinstance(values, dict) else "object"


def _bounds(schema: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    found = [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    return f" {', '.join(found)}" if found else ""


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
