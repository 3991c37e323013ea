"""Which layer a run's value comes from."""

from __future__ import annotations

import pytest

from common.key_paths import Key
from common.plan.config_merge import Layer, laid, source_of

BASE = Layer("base", {"a": {"x": 1, "y": 1}, "list": [{"x": 1, "y": 1}], "b": 1})
OWN = Layer("own", {"a": {"x": 2}, "list": [{"x": 2}]})
POINT = Layer("point", {"c.d": {"x": 3}, "b": 3}, replaces=True)


@pytest.mark.parametrize(
    ("key", "source"),
    [
        (("a", "x"), "own"),
        (("a", "y"), "base"),
        (("a", "z"), None),
        (("a",), "own"),
        (("list", 0, "x"), "own"),
        (("list", 0, "y"), None),
        (("list", 1, "x"), None),
        (("b",), "point"),
        (("b", "inner"), "point"),
        (("c", "d", "x"), "point"),
        (("c", "d", "y"), None),
        (("c",), "point"),
        (("other",), None),
    ],
)
def test_the_topmost_layer_that_gives_a_value_is_its_source(key: Key, source: str | None) -> None:
    found = source_of([BASE, OWN, POINT], key)
    assert (found.name if found else None) == source


def test_what_an_option_replaces_is_no_source_of_what_it_lacks() -> None:
    whole = Layer("option", {"a": {"y": 3}}, replaces=True)
    assert source_of([BASE, OWN, whole], ("a", "x")) is None


def test_objects_are_merged_and_lists_replaced() -> None:
    assert laid([BASE, OWN]) == {"a": {"x": 2, "y": 1}, "list": [{"x": 2}], "b": 1}
