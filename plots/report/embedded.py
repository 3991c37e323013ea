"""Contents of a report for the browser: data as columns, and the library that draws charts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plots.report.charts import Rows, Spec

_CACHE = "reinforcement-finetuning-research"
"""Folder in the user's folder of caches."""


def chart_data(spec: Spec) -> dict[str, Any]:
    """Return a chart as the page's script takes it: its rows are columns."""
    return {"spec": {**spec, "data": {}}, "columns": columns(spec["data"]["values"])}


def columns(rows: Rows) -> dict[str, Any]:
    """Return a table by columns; repeated texts stand once, and where they are as numbers."""
    return {name: _column([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _column(values: Sequence[Any]) -> Any:
    if not all(isinstance(value, str) for value in values):
        return list(values)
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return {"texts": list(places), "places": [places[value] for value in values]}


def as_script(value: Mapping[str, Any]) -> str:
    """Return JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def library() -> str:
    """Return the JavaScript that draws charts in a page, ``vegaEmbed``, for a script element.

    It takes seconds to put together, so it is kept in the user's folder of caches.
    """
    import vl_convert

    home = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
    kept = Path(home) / _CACHE / f"vega-{version('vl-convert-python')}.js"
    with suppress(OSError, UnicodeDecodeError):
        return kept.read_text(encoding="utf-8")
    code = _in_script(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # has a default
    with suppress(OSError):  # a home that may not be written to
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_text(code, encoding="utf-8")
        beside.replace(kept)
    return code


def _in_script(code: str) -> str:
    """Return JavaScript that may stand in a script element: no string in it ends the element."""
    return re.sub("<(?=/script|!--)", r"\\x3c", code, flags=re.IGNORECASE)
