"""The report in a browser: sorting, filtering, hovering, keys, widths, darkness, no requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plots.report.page import write_report
from tests.plots.report.many_runs import write_plan_folder
from tests.tools import imported, needs_program, program

imported("vl_convert")
playwright = imported("playwright.sync_api")
_NAMES = ("chromium", "chromium-browser")
_PATIENCE = 300_000
"""Milliseconds in which a page does what is asked of it."""
pytestmark = [
    needs_program(*_NAMES),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = started.chromium.launch(
            executable_path=program(*_NAMES), args=arguments, timeout=_PATIENCE
        )
        yield found
        found.close()


def new_page(browser: Any, **settings: Any) -> Any:
    page = browser.new_page(**settings)
    page.set_default_timeout(_PATIENCE)
    return page


class Opened:
    """A page, with what it asked for and what its console said."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.page = new_page(browser, **settings)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(path.as_uri())

    def chart(self, name: str) -> Any:
        """Scrolls to a chart and waits until it is drawn for the pointer."""
        self.page.locator(f"#{name}").scroll_into_view_if_needed()
        self.page.wait_for_selector(f"#{name}[data-drawn]")
        return self.page.locator(f"#{name}")


def names(page: Any) -> list[str]:
    return list(page.locator("#table tbody tr:visible td:first-child").all_inner_texts())


def test_a_page_is_quiet_and_alone(plan: Path, browser: Any) -> None:
    path = write_report(plan)
    opened = Opened(browser, path)
    assert opened.requests == [path.as_uri()]
    assert opened.said == []


def test_runs_are_sorted_and_filtered_by_mouse_and_keys(plan: Path, browser: Any) -> None:
    page = Opened(browser, write_report(plan)).page
    column = page.locator("#table thead button", has_text="score")
    column.click()
    cells = page.locator("#table tbody tr td:nth-child(4)")
    scores = [float(text) for text in cells.all_inner_texts() if text]
    assert len(scores) == 10 and scores == sorted(scores)
    column.focus()
    page.keyboard.press("Enter")
    scores = [float(text) for text in cells.all_inner_texts() if text]
    assert scores == sorted(scores, reverse=True)
    assert page.locator("th[aria-sort=descending]").count() == 1

    page.locator("#filter").fill("failed broken")
    assert names(page) == ["exp"]
    assert page.locator("#shown").inner_text() == "1 of 11 runs"
    page.locator("#filter").fill("")
    assert len(names(page)) == 11


def test_charts_tell_their_values(plan: Path, browser: Any) -> None:
    opened = Opened(browser, write_report(plan))
    page = opened.page
    point = opened.chart("inputs-chart").locator("g.mark-symbol.role-mark path").nth(1)
    point.hover()
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert "prompt 1 </script>" in tooltip.inner_text()
    point.click()
    assert "output 1" in page.locator("#input").inner_text()

    before = opened.chart("curve-0").locator("path").count()
    page.locator("#seeds").check()
    page.wait_for_function(f"document.querySelectorAll('#curve-0 path').length > {before}")
    opened.chart("pair")
    page.locator("#pair-x").select_option("train loss")
    page.wait_for_function("document.querySelector('#pair svg').textContent.includes('train loss')")
    assert opened.said == []


def test_lines_are_coloured_by_an_option(tmp_path: Path, browser: Any) -> None:
    write_plan_folder(tmp_path / "plan", num_configurations=4, num_seeds=2, num_epochs=3)
    opened = Opened(browser, write_report(tmp_path / "plan"))
    curve = opened.chart("curve-0")
    assert opened.page.locator("#legend-curve li").count() == 4
    opened.page.locator(".colouring").select_option("opt_method")
    assert opened.page.locator("#legend-curve li").all_inner_texts() == ["sft", "rft"]
    opened.page.wait_for_function(
        "new Set([...document.querySelectorAll('#curve-0 .mark-line path')]"
        ".map((path) => path.getAttribute('stroke'))).size === 2"
    )
    assert curve.is_visible() and opened.said == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_at_each_width_and_in_the_dark(
    plan: Path, browser: Any, width: int, scheme: str
) -> None:
    settings = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = Opened(browser, write_report(plan), **settings).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate(
        "(() => { const s = getComputedStyle(document.body);"
        " return [s.color, s.backgroundColor]; })()"
    )
    ink, paper = (sum(map(int, colour[4:-1].split(", "))) for colour in colours)
    assert (ink > paper) == (scheme == "dark") and abs(ink - paper) > 500


def test_it_reads_without_scripts(plan: Path, browser: Any) -> None:
    page = new_page(browser, java_script_enabled=False)
    page.goto(write_report(plan).as_uri())
    for name in ("curve-0", "differences", "pair", "inputs-chart"):
        assert page.locator(f"#{name} svg").is_visible()
    assert page.locator("svg.stages rect").count() == 2
    assert len(names(page)) == 11


def test_it_prints_its_charts_dark_on_white(plan: Path, browser: Any) -> None:
    page = Opened(browser, write_report(plan), color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("nav").is_visible() and not page.locator("#filter").is_visible()
    assert page.locator("#curve-0 svg").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('.chart svg')).filter") == "none"
