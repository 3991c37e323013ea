"""Lets pages show files of the project that stand outside ``docs/``.

On GitHub ``../experiment_plans/digits.json`` leads out of the folder. Nothing is outside a
site, so each file that a page links to is copied into it, and the link is made to lead there.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parent.parent
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the linked files of the project to the site.

    Raises:
        PluginError: there is no such file.
    """
    pages = [file for file in files if file.src_uri.endswith(".md")]
    linked = {path for page in pages for path in _OUTSIDE.findall(page.content_string)}
    for path in sorted(linked):
        if not (PROJECT / path).is_file():
            raise PluginError(f"a page links to '../{path}', which is no file; fix the link")
        files.append(File.generated(config, path, abs_src_path=str(PROJECT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with the links that lead out of the folder turned inwards."""
    return _OUTSIDE.sub(r"](\1)", markdown)
