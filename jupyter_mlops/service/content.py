"""Bytes: files of runs and of model versions, as attachments that no browser runs; and uploads of runs' files."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from tornado.iostream import StreamClosedError

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound, Unavailable
from jupyter_mlops.core.records import Artifact, StreamPosition
from jupyter_mlops.service.handlers import ApiHandler
from jupyter_mlops.service.loads import note_load
from jupyter_mlops.service.receiving import ReceivingHandler
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.embedded.receiving import Found, Receiving
from jupyter_mlops.tracker.remote.client import DIGEST_HEADER
from jupyter_mlops.tracker.remote.links import LINKS_HEADER

logger = logging.getLogger("jupyter_mlops.service")

SMALLEST_LINKED = 1 << 20
"""Bytes; what is smaller comes sooner from the service than by one more request."""
PAUSE_SECONDS = 600.0
"""How long files come through the service after a link that could not be signed."""
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
"""Of one range; what asks for several is sent the whole file, as it may be."""
_UNCHANGED = "private, max-age=31536000, immutable"
"""What a URL that names the digest gives never changes."""
_ASK_AGAIN = "private, no-cache"
"""The same path may hold other bytes later, which a new ETag tells."""


class DownloadHandler(ApiHandler):
    """A file, whole or a part; ``start`` and ``stop`` in the query, or a ``Range`` header. With ``digest`` in the
    query, only if that is the file's."""

    async def _send(self, find: Callable[[], Found]) -> None:
        found = await self.call(partial(self.tracker.database.repeated, find))
        file = found.file
        assert file.size is not None
        digest = self.query().get("digest")
        if digest is not None and digest != file.digest:
            raise NotFound(f"the file {file.path!r} has other bytes: its SHA-256 is {file.digest}")
        self.set_header("ETag", f'"{file.digest}"')
        self.set_header("Cache-Control", _ASK_AGAIN if digest is None else _UNCHANGED)
        if self.check_etag_header():
            self.set_status(304)
            await self.finish()
            return
        part = self._part(file)
        if part is None:
            self._refuse_range(file.size)
            return
        start, stop = part
        name = file.path.rpartition("/")[2]
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Length", str(stop - start))
        if (start, stop) == (0, file.size):
            self.set_header(DIGEST_HEADER, str(file.digest))
            link = await self._link(found)
            if link is not None:
                self._lead(link)
                return
        if self.request.method == "HEAD":
            await self.finish()
            return
        pieces = await self.call(lambda: found.read(start, stop))
        try:
            while (piece := await self.call(lambda: next(pieces, None))) is not None:
                self.write(piece)
                # The executor is free while a slow client takes it.
                await self.flush()
            await self.finish()
        except StreamClosedError:
            # The client has gone.
            return

    async def _link(self, found: Found) -> str | None:
        """Where the object store gives the file, for who can follow, when the administrator has allowed it."""
        seconds = self.service.link_seconds
        wanted = self.request.method == "GET" and LINKS_HEADER in self.request.headers
        if not seconds or not wanted or (found.file.size or 0) < SMALLEST_LINKED:
            return None
        if time.monotonic() < self.service.no_links_until:
            return None
        try:
            return await self.call(lambda: found.link(seconds))
        except Unavailable as error:
            # Not for each file: credentials that cannot sign rarely learn it, but a store may have been away.
            self.service.no_links_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("files come through the service, since no link could be signed: %s", error.message)
            return None

    def _lead(self, link: str) -> None:
        self.set_status(307)
        self.set_header("Location", link)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Length", "0")
        self.finish()

    def _part(self, file: Artifact) -> tuple[int, int] | None:
        """The bytes asked for, ``[start, stop)``; None when the file has none of these."""
        assert file.size is not None
        size = file.size
        ranged = self._range(file)
        if ranged is None:
            start, stop = number_in(self.query(), "start", 0), min(number_in(self.query(), "stop", size), size)
            return min(start, stop), stop
        first, last = ranged
        if first is None:
            start, stop = max(size - (last or 0), 0), size
        else:
            start, stop = first, size if last is None else min(last + 1, size)
        if start >= stop:
            return None
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        return start, stop

    def _range(self, file: Artifact) -> tuple[int | None, int | None] | None:
        """The first and the last byte of a range that counts, as given."""
        headers = self.request.headers
        found = _RANGE.fullmatch(headers.get("Range", ""))
        etag = f'"{file.digest}"'
        # A client that has a part of other bytes needs all of these.
        if found is None or self.request.method != "GET" or headers.get("If-Range", etag) != etag:
            return None
        first, last = (int(text) if text else None for text in found.groups())
        if (first is None and last is None) or (first is not None and last is not None and first > last):
            return None
        return first, last

    def _refuse_range(self, size: int) -> None:
        self.set_status(416)
        self.set_header("Content-Range", f"bytes */{size}")
        self.set_header("Content-Type", wire.JSON)
        self.finish(self.told(InvalidValue(f"the file has {size} bytes, none in this range")))


def number_in(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of bytes, or the number of a write, that a query gives."""
    text = query.get(name)
    if text is None:
        return default
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise InvalidValue(f"{name}: bytes are counted from 0 on, up to 18 digits; this is {text[:50]!r}")
    return int(text)


class RunContentHandler(DownloadHandler, ReceivingHandler):
    """The files of a run: ``path`` in the query says which."""

    scopes = MappingProxyType({"GET": Scope.READ, "PUT": Scope.WRITE})

    def receive(self) -> Receiving[Any]:
        stream = self.query().get("stream")
        position = None if stream is None else StreamPosition(stream, number_in(self.query(), "number", 0))
        return self.tracker.artifacts.receive(self.path_kwargs["run_id"], self.asked("path"), position)

    async def get(self, run_id: str) -> None:
        await self.answered(self._get(run_id))

    async def head(self, run_id: str) -> None:
        await self.get(run_id)

    async def _get(self, run_id: str) -> None:
        path = self.asked("path")
        artifacts = self.tracker.artifacts
        await self._send(lambda: artifacts.found(run_id, path))


class UploadContentHandler(ReceivingHandler):
    """Parts of files on their way to a run: ``path`` and ``offset`` in the query say which."""

    scopes = MappingProxyType({"PUT": Scope.WRITE})

    def receive(self) -> Receiving[Any]:
        run_id, upload_id = self.path_kwargs["run_id"], self.path_kwargs["upload_id"]
        path, offset = self.asked("path"), self.asked("offset")
        if re.fullmatch("[0-9]{1,15}", offset) is None:
            raise InvalidValue(f"offset: bytes are counted from 0 on, up to 15 digits; this is {offset[:50]!r}")
        total = number_in(self.query(), "total", 0)
        return self.tracker.artifacts.receive_part(run_id, upload_id, path, int(offset), total)


class VersionContentHandler(DownloadHandler):
    """The files of a model version: ``path`` in the query says which, ``consumer`` what loads it."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self, name: str, version: str) -> None:
        await self.answered(self._get(name, version))

    async def head(self, name: str, version: str) -> None:
        await self.get(name, version)

    async def _get(self, name: str, version: str) -> None:
        path, digest = self.asked("path"), self.query().get("digest")
        models = self.tracker.models
        if re.fullmatch("-?[0-9]{1,19}", version) is None:
            raise InvalidValue(f"a version is a number, not {version[:50]!r}")
        number = int(version)
        consumer = self.query().get("consumer")
        if consumer is not None:
            await self.call(lambda: note_load(models, name, number, purpose=consumer))
        await self._send(lambda: models.found(name, number, path, digest))
