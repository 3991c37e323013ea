"""Pages lead to what is there: links, names of functions and files, tables of parts and keys."""

from __future__ import annotations

import importlib
import re
from typing import Any, get_args

import pytest

from common.registry import Registry
from docs import reference
from grue.algorithms.config import Compatibility
from grue.metrics import METRICS
from grue.rewards import REWARDS
from grue.runs.compatibility import OfSupervised
from tests.conftest import PROJECT
from tests.docs.pages import PAGES, README, Page, page

_PACKAGES = "common|docs|grue|plots|sft_vs_rft|tests"
_NAME = re.compile(rf"`((?:{_PACKAGES})(?:\.\w+)+)`")
_FILE = re.compile(rf"(?<!\[)`((?:{_PACKAGES}|experiment_plans)/[\w./]*)`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_the_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= 200


@each_page
def test_links_lead_to_files_and_headings(page: Page) -> None:
    dead = [
        f"{path}#{anchor}"
        for path, anchor in page.links()
        if not path.is_file() or (anchor and anchor not in Page(path).anchors())
    ]
    assert not dead


def exists(name: str) -> bool:
    """Whether a dotted name leads to a module, or to an attribute of one."""
    module, attributes = name, []
    while module:
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            attributes.insert(0, last)
            continue
        for attribute in attributes:
            found = getattr(found, attribute, None)
        return found is not None
    return False


@each_page
def test_names_of_modules_classes_and_functions_exist(page: Page) -> None:
    text = page.prose
    if page.name == "docs/moved.md":  # the first column has those of earlier
        text = "\n".join(line.rpartition(" | ")[2] for line in text.splitlines())
        assert "`common.config.base`" in text
    assert [name for name in _NAME.findall(text) if not exists(name)] == []


@each_page
def test_files_that_are_named_exist(page: Page) -> None:
    assert [path for path in _FILE.findall(page.prose) if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize("name", ["failures", "slurm", "ray"])
def test_each_row_of_what_fails_is_held_by_drills_and_tests_that_exist(name: str) -> None:
    tables = re.findall(
        r"^\|.* held by \|\n\|[- |]+\|\n((?:\|.*\n)+)", page(name).text, re.MULTILINE
    )
    rows = [row.split(" | ") for table in tables for row in table.splitlines()]
    held = [re.findall(r"`(\w+)`", row[-1]) for row in rows]
    tests = "".join(path.read_text() for path in (PROJECT / "tests").rglob("*.py"))
    assert len(rows) >= 10
    assert [row[0] for row, names in zip(rows, held, strict=True) if not names] == []
    every = [name for names in held for name in names]
    assert [name for name in every if not re.search(rf"def _?{name}\b", tests)] == []


def test_public_names_stand_for_what_earlier_imports_gave() -> None:
    rows = re.findall(
        r"^\| `from ([\w.]+) import (\w+)` \| `from (\w+) import (\w+)` \|$",
        page("moved").text,
        re.MULTILINE,
    )
    assert len(rows) > 25
    modules = dict(
        re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", page("moved").text, re.MULTILINE)
    )
    for module, earlier, package, name in rows:
        public = getattr(importlib.import_module(package), name)
        now = importlib.import_module(modules.get(module, module))
        assert getattr(now, earlier) is public, (module, name)


def test_the_reference_of_keys_is_up_to_date() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), (
        "write it anew: python -m docs.reference"
    )


@pytest.mark.parametrize(
    ("column", "registry"), [(1, REWARDS), (2, METRICS)], ids=["rewards", "metrics"]
)
def test_the_table_of_rewards_and_metrics_names_each_once(
    column: int, registry: Registry[Any]
) -> None:
    lines = page("rewards_and_metrics").section("Names").splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| `")][1:]
    found = [name for row in rows for name in re.findall("`([^`]+)`", row[column])]
    assert sorted(found) == sorted(registry.names())


def test_the_page_on_differences_names_each_behaviour_that_can_be_brought_back() -> None:
    found = re.findall(r"^\| `(\w+)` \|", page("differences").text, re.MULTILINE)
    known = {*get_args(Compatibility), *get_args(get_args(get_args(OfSupervised)[0])[0])}
    assert sorted([*found, "rl4lms"]) == sorted(known)
