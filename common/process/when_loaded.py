"""Settings of large modules, made when the module is loaded, which it may never be."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_settings: defaultdict[str, dict[str, Callable[[], None]]] = defaultdict(dict)
"""Settings by the name of a module that is not loaded yet, and by their own name."""


def when_loaded(module: str, setting: str, make: Callable[[], None]) -> None:
    """Call ``make`` at once if ``module`` is loaded, otherwise right after it is.

    It then replaces an earlier one that is called ``setting`` too.
    """
    if module in sys.modules:
        make()
        return
    _settings[module][setting] = make
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder(MetaPathFinder):
    """Finder of the modules with settings, whose loading ends with these."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where Python would find the module; None for others."""
        if fullname not in _settings:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            for make in _settings.pop(fullname, {}).values():
                make()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_finder = _Finder()
