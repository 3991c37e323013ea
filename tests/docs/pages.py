"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PROJECT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A file of Markdown."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(PROJECT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language, in their order."""
        return [body for name, body in _FENCE.findall(self.text) if name == language]

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    def section(self, heading: str) -> str:
        """The text from a heading to the next one."""
        _, _, rest = self.text.partition(f"# {heading}\n")
        assert rest, heading
        return re.split(r"\n##+ ", rest)[0]

    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}

    def links(self) -> Iterator[tuple[Path, str]]:
        """The files that links lead to, with their anchors; not those to other hosts."""
        for target in re.findall(r"\]\(([^)\s]+)\)", self.prose):
            if "://" not in target:
                file, _, anchor = target.partition("#")
                yield (self.path.parent / file).resolve() if file else self.path, anchor


README = Page(PROJECT / "README.md")
PAGES = [README, Page(PROJECT / "CONTRIBUTING.md")]
PAGES += [Page(path) for path in sorted((PROJECT / "docs").glob("*.md"))]


def page(name: str) -> Page:
    """The page ``docs/<name>.md``."""
    return Page(PROJECT / "docs" / f"{name}.md")
