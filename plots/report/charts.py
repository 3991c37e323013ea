"""Charts of a report as Vega-Lite specifications, drawn as SVG and again where a page is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from plots.report.configurations import COLOURS

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_PLACES = re.compile(r'\b(?:d|transform)="[^"]*"')
"""Attributes of SVG that hold lengths alone, and no words."""
_DECIMALS = re.compile(r"\d+\.\d{2,}(?:e-?\d+)?")
_BASE: Spec = {"$schema": _SCHEMA, "background": None}
"""Parts of every chart; its paper is the page's."""
_MANY_POINTS = 60
"""Number of points from which on they are not marked in a picture of lines."""


def curve(metric: str, rows: Rows, colours: Mapping[str, str], unit: str) -> Spec:
    """Return the learning curves of a metric: means, and bands of one standard deviation.

    ``colours`` has the colour of each line, and ``unit`` says what the horizontal axis counts.
    """
    x = {"field": "x", "type": "quantitative", "title": unit, "axis": {"grid": False}}
    y = {"type": "quantitative", "title": None, "scale": {"zero": False}}
    colour = _colour(colours)
    tooltip = [
        {"field": "line", "title": "runs"}, {"field": "x", "title": unit},
        {"field": "mean", "format": ".4g"}, {"field": "n", "title": "number of runs"},
    ]  # fmt: skip
    points: Spec | bool = {"size": 12} if len(rows) < _MANY_POINTS else False
    return {
        **_BASE, "width": 300, "height": 190,
        "title": {"text": metric, "anchor": "start", "fontSize": 12, "limit": 300},
        "data": {"values": list(rows)},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.18},
             "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"},
                          "color": colour}},
            {"mark": {"type": "line", "point": points},
             "encoding": {"x": x, "y": {**y, "field": "mean"}, "color": colour,
                          "tooltip": tooltip}},
        ],
    }  # fmt: skip


def _colour(colours: Mapping[str, str]) -> Spec:
    return {
        "field": "line", "type": "nominal", "title": None, "legend": None,
        "scale": {"domain": list(colours), "range": list(colours.values())},
    }  # fmt: skip


def differences(rows: Rows) -> Spec:
    """Return the mean differences between configurations with their intervals."""
    y = {"field": "pair", "type": "nominal", "title": None, "sort": None,
         "axis": {"labelLimit": 420}}  # fmt: skip
    tooltip = [{"field": "pair"}, {"field": "difference", "format": ".4g"},
               {"field": "low", "format": ".4g"}, {"field": "high", "format": ".4g"},
               {"field": "num_seeds", "title": "seeds"}]  # fmt: skip
    return {
        **_BASE, "width": 360, "data": {"values": list(rows)},
        "layer": [
            {"mark": {"type": "rule", "color": "#999"}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "size": 2},
             "encoding": {"y": y, "x": {"field": "low", "type": "quantitative",
                                        "title": "difference of scores"},
                          "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 45},
             "encoding": {"y": y, "x": {"field": "difference", "type": "quantitative"},
                          "tooltip": tooltip}},
        ],
    }  # fmt: skip


def pair(x: str, y: str, rows: Rows, colours: Mapping[str, str]) -> Spec:
    """Return two metrics of runs (``a`` and ``b`` of the rows) against each other."""
    return {
        **_BASE, "width": 420, "height": 260, "data": {"values": list(rows)},
        "mark": {"type": "point", "filled": True, "size": 45, "aria": False},
        "encoding": {
            "x": {"field": "a", "type": "quantitative", "title": x, "scale": {"zero": False}},
            "y": {"field": "b", "type": "quantitative", "title": y, "scale": {"zero": False}},
            "color": _colour(colours),
            "tooltip": [
                {"field": "line", "title": "runs"}, {"field": "run", "title": "folder"},
                {"field": "a", "title": x, "format": ".4g"},
                {"field": "b", "title": y, "format": ".4g"},
            ],
        },
    }  # fmt: skip


def inputs(rows: Rows) -> Spec:
    """Return each input's reward mean against its reward std, with prompt and outputs."""
    return {
        **_BASE, "width": 420, "height": 260, "data": {"values": list(rows)},
        "mark": {"type": "point", "filled": True, "opacity": 0.6, "aria": False},
        "encoding": {
            "x": {"field": "std", "type": "quantitative", "title": "reward std"},
            "y": {"field": "mean", "type": "quantitative", "title": "reward mean",
                  "scale": {"zero": False}},
            "color": {"field": "run", "type": "nominal", "title": None,
                      "scale": {"range": list(COLOURS)},
                      "legend": {"orient": "bottom", "columns": 1, "labelLimit": 420}},
            "tooltip": [{"field": "prompt", "title": "input"}, {"field": "outputs"},
                        {"field": "mean", "format": ".4g"}, {"field": "std", "format": ".4g"}],
        },
    }  # fmt: skip


def as_svg(spec: Spec) -> str:
    """Return the chart as SVG, whose lengths have one decimal."""
    import vl_convert

    return _PLACES.sub(_rounded, vl_convert.vegalite_to_svg(spec))


def _rounded(places: re.Match[str]) -> str:
    return _DECIMALS.sub(lambda number: f"{float(number[0]):.1f}", places[0])
