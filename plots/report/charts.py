"""Charts of a report as Vega-Lite specifications, drawn as SVG and again where a page is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#666666"]
"""Colours of lines, which people with colour blindness tell apart (Okabe and Ito)."""
_SIZE = {"width": 300, "height": 190}


def curve(metric: str, rows: Rows, lines: Sequence[str]) -> Spec:
    """Return the learning curves of a metric: means, and bands of one standard deviation."""
    colour = {
        "field": "line", "type": "nominal", "title": None,
        "scale": {"domain": list(lines), "range": _colours(len(lines))},
        "legend": None,
    }  # fmt: skip
    x = {"field": "x", "type": "quantitative", "title": "step", "axis": {"grid": False}}
    y = {"type": "quantitative", "title": None, "scale": {"zero": False}}
    tooltip = [
        {"field": "line", "title": "runs"}, {"field": "x", "title": "step"},
        {"field": "mean", "format": ".4g"}, {"field": "n", "title": "number of runs"},
    ]  # fmt: skip
    own = [row for row in rows if row["metric"] == metric]
    return {
        "$schema": _SCHEMA, **_SIZE, "title": {"text": metric, "anchor": "start", "fontSize": 12},
        "data": {"values": own},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.18},
             "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"},
                          "color": colour}},
            {"mark": {"type": "line", "point": {"size": 12}},
             "encoding": {"x": x, "y": {**y, "field": "mean"}, "color": colour,
                          "tooltip": tooltip}},
        ],
    }  # fmt: skip


def _colours(count: int) -> list[str]:
    return [_COLOURS[place % len(_COLOURS)] for place in range(count)]


def colours(lines: Sequence[str]) -> dict[str, str]:
    """Return the colour of each line."""
    return dict(zip(lines, _colours(len(lines)), strict=True))


def differences(rows: Rows) -> Spec:
    """Return the mean differences between configurations with their intervals."""
    y = {"field": "pair", "type": "nominal", "title": None, "sort": None,
         "axis": {"labelLimit": 420}}  # fmt: skip
    tooltip = [{"field": "pair"}, {"field": "difference", "format": ".4g"},
               {"field": "low", "format": ".4g"}, {"field": "high", "format": ".4g"},
               {"field": "num_seeds", "title": "seeds"}]  # fmt: skip
    return {
        "$schema": _SCHEMA, "width": 360, "data": {"values": list(rows)},
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


def inputs(rows: Rows) -> Spec:
    """Return each input's reward mean against its reward std, with prompt and outputs."""
    return {
        "$schema": _SCHEMA, "width": 420, "height": 260, "data": {"values": list(rows)},
        "mark": {"type": "point", "filled": True, "opacity": 0.6},
        "encoding": {
            "x": {"field": "std", "type": "quantitative", "title": "reward std"},
            "y": {"field": "mean", "type": "quantitative", "title": "reward mean",
                  "scale": {"zero": False}},
            "color": {"field": "run", "type": "nominal", "title": None,
                      "scale": {"range": _COLOURS}},
            "tooltip": [{"field": "prompt"}, {"field": "outputs"},
                        {"field": "mean", "format": ".4g"}, {"field": "std", "format": ".4g"}],
        },
    }  # fmt: skip


def as_svg(spec: Spec) -> str:
    """Return the chart as SVG."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec))


def library() -> str:
    """Return the JavaScript that draws such charts in a page: ``vegaEmbed``."""
    import vl_convert

    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # the stub has no default
