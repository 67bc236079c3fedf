"""The page as it was built (``labextension``): its files, and how they are given to browsers."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import msgspec

from jupyter_mlops import service as service_package
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.service.handlers import ApiHandler

FOLDER = Path(service_package.__file__).parent / "page"
PLACE = "page/"
"""Where the files are, below the service's own URL."""

_NAME = re.compile(r"[\w-][\w.-]*")
_KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".woff": "font/woff",
    ".ttf": "font/ttf",
}
_PACKED = {".js", ".css", ".svg", ".ttf"}
"""What becomes smaller by it."""
_MOST_PACKED = 200


class Manifest(msgspec.Struct, frozen=True):
    """The files that the page begins with, in their order."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


def manifest(folder: Path = FOLDER) -> Manifest | None:
    """What was built; None where nothing was."""
    try:
        return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None


class PageFileHandler(ApiHandler):
    """A file of the page. Everybody has them who has the package, so that nobody needs to log in for them."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self, name: str) -> None:
        await self.answered(self._give(name))

    async def _give(self, name: str) -> None:
        kind = _KINDS.get(Path(name).suffix)
        path = FOLDER / name
        if kind is None or _NAME.fullmatch(name) is None or not path.is_file():
            raise NotFound(f"there is no file {name[:100]!r} of the page; reload it")
        packed = path.suffix in _PACKED and "gzip" in self.request.headers.get("Accept-Encoding", "")
        content = await self.call(lambda: _content(path, packed))
        self.set_header("Content-Type", kind)
        self.set_header("Vary", "Accept-Encoding")
        if packed:
            self.set_header("Content-Encoding", "gzip")
        # Its name says what is in it.
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        # Opened by itself it does nothing.
        self.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
        await self.finish(content)


@lru_cache(_MOST_PACKED)
def _content(path: Path, packed: bool) -> bytes:
    content = path.read_bytes()
    return gzip.compress(content, mtime=0) if packed else content
