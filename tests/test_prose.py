import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("common", "grue", "plots", "sft_vs_rft")
SOURCES = [ROOT / "run_plan.py", *(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))]
QUESTION_WORDS = {"what", "how", "whether", "why"}
OF_FUNCTIONS_ALONE = {"return", "returns", "yield", "yields"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _text(node: ast.stmt) -> str | None:
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, bool, str]]:
    """Yield line, True if it is a function's, and text of each docstring.

    These are the docstrings of modules, classes, functions, fields and constants.
    """
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.ClassDef | Function):
            above = [None, *scope.body]
            for before, node in zip(above, scope.body, strict=False):
                text = _text(node)
                if text is not None and isinstance(before, ast.Assign | ast.AnnAssign | None):
                    yield node.lineno, before is None and isinstance(scope, Function), text


def _first_word(text: str) -> str:
    return text.split()[0].strip("*`,:").lower()


def _questions(source: str) -> list[int]:
    """Return the lines of docstrings that open with a question word."""
    found = _docstrings(ast.parse(source))
    return [line for line, _, text in found if _first_word(text) in QUESTION_WORDS]


def _returns(source: str) -> list[int]:
    """Return the lines of docstrings of anything but a function that open with "Return"."""
    found = _docstrings(ast.parse(source))
    return [
        line
        for line, of_function, text in found
        if not of_function and _first_word(text) in OF_FUNCTIONS_ALONE
    ]


def _places(find: Callable[[str], list[int]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in find(path.read_text(encoding="utf-8"))
    ]


def test_no_docstring_opens_with_a_question_word():
    places = _places(_questions)
    assert not places, (
        "say the quantity ('Number of ...', 'If true, ...') or what is done ('Return the ...'): "
        + ", ".join(places)
    )


def test_only_functions_and_properties_say_what_they_return():
    places = _places(_returns)
    assert not places, "a module, class or field returns nothing, say what it is: " + ", ".join(
        places
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
    assert len(_questions(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the answer."""',
        'class A:\n    """Yield answers."""',
        'class A:\n    key: bool = True\n    """Return the key."""',
        'def f():\n    a = 1\n    """Return the key."""',
    ],
)
def test_return_is_refused_of_everything_but_functions(source):
    assert len(_returns(source)) == 1


def test_functions_and_properties_may_return():
    assert not _returns('class A:\n    @property\n    def f(self):\n        """Return f."""')


def test_texts_that_are_no_docstrings_are_not_read():
    assert not _questions('def f() -> str:\n    return "What is it?"\n')
    assert not _questions('"""A module."""\nkey = "What is it?"\n')
