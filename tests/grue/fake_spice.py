"""A stand-in for Java with SPICE's program, as it is called and as it answers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_JAVA = """#!{python}
import json, os, sys

heap, flag, jar, source = sys.argv[1:5]
options = sys.argv[5:]
assert flag == "-jar" and os.path.isfile(jar), sys.argv
assert heap.startswith("-Xmx") and heap.endswith("G"), heap
with open(source) as file:
    inputs = json.load(file)
found = []
for item in inputs:
    assert set(item) == {{"image_id", "test", "refs"}} and item["test"].strip()
    if item["test"] == "crash":
        sys.exit("Exception in thread main: no memory")
    shared = set(item["test"].split()) & set(" ".join(item["refs"]).split())
    f = len(shared) / len(set(item["test"].split())) if item["test"] != "nothing" else None
    found.append({{"image_id": item["image_id"], "scores": {{"All": {{"f": f}}}}}})
if "lost" in [item["test"] for item in inputs]:
    found = found[1:]
with open(options[options.index("-out") + 1], "w") as file:
    json.dump(found[::-1], file)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the stand-in on the PATH alone, and gives the path of an empty jar.

    The F score of an output is the share of its words that any reference has.
    """
    (folder / "bin").mkdir()
    java = folder / "bin" / "java"
    java.write_text(_JAVA.format(python=sys.executable))
    java.chmod(0o755)
    (folder / "lib").mkdir()
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (folder / "lib" / name).touch()
    jar = folder / "SPICE-1.0.jar"
    jar.touch()
    monkeypatch.setenv("PATH", str(java.parent))
    return jar
