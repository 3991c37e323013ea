"""The site builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.tools import needs_package

pytestmark = needs_package("mkdocs")


class _Loaded(HTMLParser):
    """Collects what a page loads by itself: scripts, styles, fonts, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loads = "src" in given or (tag == "link" and given.get("rel") not in ("canonical", "next"))
        address = given.get("src") or given.get("href") if loads else None
        if address:
            self.addresses.append(address)


def pages(site: Path) -> dict[str, list[str]]:
    """What each page of the site loads, by the page's name."""
    found = {}
    for path in sorted(site.glob("*.html")):
        reader = _Loaded()
        reader.feed(path.read_text(encoding="utf-8"))
        found[path.name] = reader.addresses
    del found["404.html"]  # its addresses begin with a slash: it is shown at any depth
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=PROJECT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = pages(site)
    assert len(loaded) > 15
    assert all(loaded.values())
    away = {name: [each for each in addresses if re.match(r"(\w+:)?//", each)]
            for name, addresses in loaded.items()}  # fmt: skip
    assert not any(away.values()), away


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text()), path.name


def test_pictures_are_part_of_the_site(site: Path) -> None:
    shown = {each for addresses in pages(site).values() for each in addresses
             if each.endswith(".png")}  # fmt: skip
    assert [each for each in shown if not (site / each).is_file()] == []
    made = (PROJECT / "experiment_plans").rglob("figures/*.png")
    assert {str(path.relative_to(PROJECT)) for path in made} <= shown


def test_the_search_knows_every_page(site: Path) -> None:
    index = (site / "search/search_index.json").read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in index for path in site.glob("*.html") if path.name != "404.html")
