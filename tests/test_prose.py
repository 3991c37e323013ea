import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common", "grue", "plots", "sft_vs_rft")
SOURCES = [ROOT / "run_plan.py", *(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))]
QUESTION_WORDS = {"what", "how", "whether", "why"}


def _text(node: ast.stmt) -> str | None:
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of modules, classes, functions, fields, constants."""
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            above = [None, *scope.body]
            for before, node in zip(above, scope.body, strict=False):
                text = _text(node)
                if text is not None and isinstance(before, ast.Assign | ast.AnnAssign | None):
                    yield node.lineno, text


def _openings(source: str) -> list[int]:
    """Return the lines of docstrings that open with a question word."""
    found = _docstrings(ast.parse(source))
    return [line for line, text in found if text.split()[0].strip("*`,:").lower() in QUESTION_WORDS]


def test_no_docstring_opens_with_a_question_word():
    places = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in _openings(path.read_text(encoding="utf-8"))
    ]
    assert not places, (
        "say the quantity ('Number of ...', 'If true, ...') or what is done ('Return the ...'): "
        + ", ".join(places)
    )


@pytest.mark.parametrize(
    "source",
    [
        '"""What is in a module."""',
        'class A:\n    """How it works."""',
        'def f() -> bool:\n    """Whether it is so."""',
        'async def f() -> None:\n    """Why it is so."""',
        'class A:\n    def f(self) -> bool:\n        """Whether it is so."""',
        'class A:\n    key: bool = True\n    """Whether it is so."""',
        'A = 1\n"""What it counts."""',
        'class A:\n    def f(self):\n        self.a = 1\n        """What it counts."""',
    ],
)
def test_every_kind_of_docstring_is_read(source):
    assert len(_openings(source)) == 1


def test_texts_that_are_no_docstrings_are_not_read():
    assert not _openings('def f() -> str:\n    return "What is it?"\n')
    assert not _openings('"""A module."""\nkey = "What is it?"\n')
