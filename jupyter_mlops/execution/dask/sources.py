"""The modules that a notebook imports: those beside it, which travel with it, and those that have to be installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from jupyter_mlops.core.errors import InvalidValue

LARGEST_BYTES = 32 << 20
"""Of all modules of one notebook."""
_IMPORTS = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+(.+))", re.MULTILINE)


class Imports(msgspec.Struct, frozen=True):
    """What a notebook imports."""

    files: dict[str, bytes]
    """The modules in its folder and what they import from there, by their path in it."""
    installed: tuple[str, ...]
    """Names of other modules, without those of Python itself."""


def find_imports(texts: Iterable[str], folder: Path) -> Imports:
    """What the code in ``texts``, executed in ``folder``, imports.

    Imports are found by how they are written: one that is made in another way is not. ``InvalidValue`` when the modules
    beside the notebook are larger than :data:`LARGEST_BYTES`.
    """
    waiting = {name for text in texts for name in _imported(text)}
    seen: set[str] = set()
    files: dict[str, bytes] = {}
    size = 0
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for path in _files_of(name, folder):
            # Looked at before it is read: a package may have gigabytes of data beside its code.
            size += path.stat().st_size
            if size > LARGEST_BYTES:
                raise InvalidValue(
                    f"the modules in {folder} that the notebook imports have {size >> 20} MiB or more; at most "
                    f"{LARGEST_BYTES >> 20} MiB travel with it: install them on the workers"
                )
            content = path.read_bytes()
            files[path.relative_to(folder).as_posix()] = content
            if path.suffix == ".py":
                waiting |= set(_imported(content.decode("utf-8", "replace"))) - seen
    local = {path.partition("/")[0].removesuffix(".py") for path in files}
    return Imports(files, tuple(sorted(seen - local - sys.stdlib_module_names)))


def _imported(text: str) -> Iterable[str]:
    """The first parts of the names of imported modules."""
    for module, modules in _IMPORTS.findall(text):
        for name in [module] if module else modules.split(","):
            first = name.strip().partition(" ")[0].partition(".")[0]
            if first.isidentifier():
                yield first


def _files_of(name: str, folder: Path) -> Iterable[Path]:
    """The files of the module ``name`` in ``folder``; none when it is not there."""
    package = folder / name
    if (package / "__init__.py").is_file():
        for path in sorted(package.rglob("*")):
            inside = path.relative_to(folder).parts
            if path.is_file() and "__pycache__" not in inside and not any(part.startswith(".") for part in inside):
                yield path
    elif (module := folder / f"{name}.py").is_file():
        yield module
