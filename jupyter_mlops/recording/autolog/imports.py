"""Doing something as soon as a module has been imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def when_imported(names: Iterable[str], do: Callable[[str], object]) -> Callable[[], None]:
    """Call ``do`` with each name, at once if its module has been imported already, otherwise right after it is.

    Returns a function that cancels what has not happened yet.
    """
    waiting = set()
    for name in names:
        # A module that is being imported right now is in sys.modules, too, but not ready.
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is not None and not getattr(spec, "_initializing", False):
            do(name)
        else:
            waiting.add(name)
    finder = _Finder(waiting, do)
    if waiting:
        sys.meta_path.insert(0, finder)

    def cancel() -> None:
        waiting.clear()
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)

    return cancel


class _Finder(MetaPathFinder):
    def __init__(self, waiting: set[str], do: Callable[[str], object]) -> None:
        self._waiting = waiting
        self._do = do

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._waiting:
            return None
        self._waiting.discard(fullname)
        others = (finder.find_spec(fullname, path, target) for finder in list(sys.meta_path) if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, lambda: self._do(fullname))
        if not self._waiting and self in sys.meta_path:
            sys.meta_path.remove(self)
        return spec


class _Loader(Loader):
    """A loader that does something after its module has been executed."""

    def __init__(self, loader: Loader, do: Callable[[], object]) -> None:
        self._loader = loader
        self._do = do

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps the loader it would have had.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._do()

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)
