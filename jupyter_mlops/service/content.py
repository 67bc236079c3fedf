"""Bytes: files of runs and of model versions, as attachments that no browser runs; and uploads of runs' files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import BinaryIO, cast
from urllib.parse import quote

import tornado.web

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Artifact, StreamPosition
from jupyter_mlops.service.handlers import ApiHandler
from jupyter_mlops.tracker.remote.files import DIGEST_HEADER

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
LARGEST_UPLOAD = 1 << 40
"""Bytes of one file."""
_IN_MEMORY = 1 << 20


class DownloadHandler(ApiHandler):
    """A file, whole or a part; ``start`` and ``stop`` in the query, or a ``Range`` header."""

    async def _send(self, file: Artifact, read: Callable[[int, int], Iterator[bytes]]) -> None:
        assert file.size is not None
        etag = f'"{file.digest}"'
        self.set_header("ETag", etag)
        # The same path may hold other bytes later, which a new ETag tells.
        self.set_header("Cache-Control", "private, no-cache")
        if self.request.headers.get("If-None-Match") == etag:
            self.set_status(304)
            await self.finish()
            return
        start, stop = self._part(file.size)
        name = file.path.rpartition("/")[2]
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Length", str(stop - start))
        if (start, stop) == (0, file.size):
            self.set_header(DIGEST_HEADER, str(file.digest))
        if self.request.method == "HEAD":
            await self.finish()
            return
        pieces = await self.call(lambda: read(start, stop))
        while (piece := await self.call(lambda: next(pieces, None))) is not None:
            self.write(piece)
            await self.flush()
        await self.finish()

    def _part(self, size: int) -> tuple[int, int]:
        """The bytes asked for, ``[start, stop)``."""
        ranged = _RANGE.fullmatch(self.request.headers.get("Range", ""))
        if ranged is not None and any(ranged.groups()):
            first, last = ranged.groups()
            if first:
                start, stop = int(first), min(int(last) + 1 if last else size, size)
            else:
                start, stop = max(size - int(last), 0), size
            if start >= stop:
                self.set_header("Content-Range", f"bytes */{size}")
                raise tornado.web.HTTPError(416)
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            return start, stop
        start = self._number("start", 0)
        stop = min(self._number("stop", size), size)
        return min(start, stop), stop

    def _number(self, name: str, default: int) -> int:
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise InvalidValue(f"{name}: a range of bytes starts and ends at 0 or later, not at {text[:50]!r}")
        return int(text)


@tornado.web.stream_request_body
class RunContentHandler(DownloadHandler):
    """The files of a run: ``path`` in the query says which."""

    scopes = MappingProxyType({"GET": Scope.READ, "PUT": Scope.WRITE})

    async def prepare(self) -> None:
        self._received = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when the request ends
        self.request.connection.set_max_body_size(LARGEST_UPLOAD)  # type: ignore[union-attr]
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        self._received.write(chunk)

    async def get(self, run_id: str) -> None:
        await self.answered(self._get(run_id))

    async def put(self, run_id: str) -> None:
        await self.answered(self._put(run_id))

    async def head(self, run_id: str) -> None:
        await self.get(run_id)

    async def _get(self, run_id: str) -> None:
        path = self.get_query_argument("path")
        artifacts = self.tracker.artifacts
        file = await self.call(lambda: artifacts.stat(run_id, path))
        await self._send(file, lambda start, stop: artifacts.open(run_id, path, start=start, stop=stop))

    async def _put(self, run_id: str) -> None:
        path = self.get_query_argument("path")
        stream, number = self.get_query_argument("stream", None), self._number("number", 0)
        position = None if stream is None else StreamPosition(stream, number)
        artifacts = self.tracker.artifacts
        self._received.seek(0)
        self.give(await self.call(lambda: artifacts.put(run_id, path, cast(BinaryIO, self._received), position)))

    def on_finish(self) -> None:
        super().on_finish()
        self._received.close()


class VersionContentHandler(DownloadHandler):
    """The files of a model version."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self, name: str, version: str) -> None:
        await self.answered(self._get(name, version))

    async def head(self, name: str, version: str) -> None:
        await self.get(name, version)

    async def _get(self, name: str, version: str) -> None:
        path = self.get_query_argument("path")
        models = self.tracker.models
        if not (version.isascii() and version.isdigit()):
            raise InvalidValue(f"a version is a number, not {version[:50]!r}")
        number = int(version)
        file = await self.call(lambda: models.stat(name, number, path))
        await self._send(file, lambda start, stop: models.open(name, number, path, start=start, stop=stop))
