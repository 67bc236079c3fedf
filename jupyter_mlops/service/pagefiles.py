"""The files of the service's page, as the build made them (``labextension/``, ``page.build.mjs``)."""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import msgspec

FOLDER = Path(__file__).with_name("page")
_MANIFEST = "manifest.json"
_SMALLEST_COMPRESSED = 1024


class Manifest(msgspec.Struct, frozen=True):
    """What the page begins with; the rest it asks for itself."""

    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


class PageFile(msgspec.Struct, frozen=True):
    """One of them. Its name says what is in it: under this name it never changes."""

    content: bytes
    compressed: bytes | None
    """By gzip; None where that does not pay."""
    type: str


class PageFiles:
    """The files in a folder, each read when it is first asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._read = cache(self._file)

    @cached_property
    def manifest(self) -> Manifest:
        """Empty where the page was not built."""
        try:
            return msgspec.json.decode((self._folder / _MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()

    @cached_property
    def _paths(self) -> Mapping[str, Path]:
        return {path.name: path for path in self._folder.glob("*.*") if path.name != _MANIFEST}

    def find(self, name: str) -> PageFile | None:
        """The file of that name; None when there is none."""
        # Names are looked up among those that are there: none leads elsewhere.
        return self._read(name) if name in self._paths else None

    def _file(self, name: str) -> PageFile:
        content = self._paths[name].read_bytes()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        pays = len(content) >= _SMALLEST_COMPRESSED and not kind.startswith(("image/png", "font/"))
        return PageFile(content, gzip.compress(content, mtime=0) if pays else None, kind)
