"""Seconds for writing the report of 1,000 runs, and for opening it in headless Chromium.

The page is opened once before the times are taken, so that the browser's own start does not count.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from plots.report.page import write_report
from tests.plots.report.many_runs import write_plan_folder
from tests.tools import program

_CONFIGURATIONS, _SEEDS = 200, 5
_ROUNDS = 3
_TIMES = """() => {
  const { domContentLoadedEventEnd } = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
  return [paint / 1000, domContentLoadedEventEnd / 1000];
}"""


def main() -> None:
    """Print the times and the size of the page."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan"
        write_plan_folder(plan, _CONFIGURATIONS, _SEEDS)
        write_report(plan)  # puts the library into its place
        started = time.process_time()
        path = write_report(plan)
        print(f"{_CONFIGURATIONS * _SEEDS:,} runs: written in {time.process_time() - started:.1f} "
              f"s of CPU, {path.stat().st_size / 1e6:.1f} MB")  # fmt: skip
        paint, scripts, charts = opened(path)
        print(f"  opened: first paint {paint:.2f} s, runs can be sorted {scripts:.2f} s, charts in "
              f"view tell their values {charts:.2f} s")  # fmt: skip


def opened(path: Path) -> list[float]:
    """Return the median seconds from navigation to first paint, scripts, and charts."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program("chromium", "chromium-browser"), args=arguments
        )
        times = [_opened(browser.new_page(viewport={"width": 1280, "height": 900}), path)
                 for _ in range(1 + _ROUNDS)][1:]  # fmt: skip
        browser.close()
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _opened(page: Any, path: Path) -> list[float]:
    started = time.perf_counter()
    page.goto(f"{path.as_uri()}#curves")
    page.wait_for_selector("#curve-2[data-drawn]")
    charts = time.perf_counter() - started
    found = [*page.evaluate(_TIMES), charts]
    page.close()
    return found


if __name__ == "__main__":
    main()
