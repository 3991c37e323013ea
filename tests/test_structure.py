"""The shape of the code: short modules, folders of moderate size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.conftest import PROJECT

PACKAGES = ("common", "sft_vs_rft", "grue", "plots")
LONGEST = 300
REASON = "# Longer than 300 lines: "
FULLEST = 25


def modules() -> list[Path]:
    found = [path for name in PACKAGES for path in sorted((PROJECT / name).rglob("*.py"))]
    assert len(found) > 300
    return [*found, PROJECT / "run_plan.py"]


def test_a_module_is_short_or_says_why_not() -> None:
    too_long = []
    for path in modules():
        lines = path.read_text(encoding="utf-8").splitlines()
        comments = [line for line in lines if line.startswith("#")]
        if len(lines) > LONGEST and not (comments and comments[0].startswith(REASON)):
            too_long.append(f"{path.relative_to(PROJECT)}: {len(lines)} lines")
    assert not too_long, f"split them, or begin with '{REASON}...': {too_long}"


def test_a_folder_holds_what_one_can_look_over() -> None:
    sizes = Counter(path.parent for path in modules())
    too_full = {str(folder): size for folder, size in sizes.items() if size > FULLEST}
    assert not too_full, f"make rooms: {too_full}"
