"""Files on their way to a service in parts: each is sent again until it has arrived, and all are visible together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import urllib3

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Artifact, Part, StreamPosition
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.operations import UPLOAD_CONTENT, operation
from jupyter_mlops.tracker.remote.client import DIGEST_HEADER, READ_SECONDS, Client, filled

PART = 32 << 20
"""Bytes of a part, and of the largest file that is sent in one request. Parts are in memory while they are sent."""

_PIECE = 1 << 20
_PATIENCE = 15.0
"""Seconds for which a part is sent again to a service that does not answer."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_SLOWEST = 20 << 20
"""Bytes in a second that a service puts together at least."""
_COMMIT = operation("artifacts.commit")
_PARTS = operation("artifacts.parts")
_ABANDON = operation("artifacts.abandon")

T = TypeVar("T")


def parts_of(file: BinaryIO) -> Iterator[bytes]:
    """What ``file`` has to read, in parts of :data:`PART` bytes, the last one smaller; of no bytes, one empty part."""
    while True:
        part = bytearray()
        while len(part) < PART and (piece := file.read(min(PART - len(part), _PIECE))):
            part += piece
        yield bytes(part)
        if len(part) < PART:
            return


class Upload:
    """Files for one run: ``add`` each, then ``commit``.

    Parameters
    ----------
    position
        That of the commit. Whoever begins with the same one again, as after a ``kill -9``, goes on with what is there.
    """

    def __init__(self, client: Client, run_id: str, position: StreamPosition | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._position = position
        self._digests: dict[str, str] = {}
        self._size = 0
        self._there: dict[tuple[str, int], str] = {}
        self._id = new_id()
        if position is not None:
            self._id = hashlib.sha256(f"{position.stream} {position.number}".encode()).hexdigest()[:32]
            known: Iterable[Part] = client.call(_PARTS, {"run_id": run_id, "upload_id": self._id})
            self._there = {(part.path, part.offset): part.digest for part in known}

    def add(self, path: str, parts: Iterable[bytes], total: int = 0) -> None:
        """Send a file, to be at ``path``, of ``total`` bytes; 0 where that is not known."""
        whole, offset = hashlib.sha256(), 0
        for part in parts:
            if part or not offset:
                self._send(path, offset, part, total)
            whole.update(part)
            offset += len(part)
        self._digests[path] = whole.hexdigest()
        self._size += offset

    def commit(self) -> tuple[Artifact, ...]:
        """Make the files visible; gives them by path."""
        body = wire.encode({"files": self._digests, "position": self._position}, wire.MSGPACK)
        path = filled(_COMMIT.path, run_id=self._run_id, upload_id=self._id)
        work = self._size / _SLOWEST

        def commit() -> urllib3.BaseHTTPResponse:
            return self._client.send(_COMMIT.method, path, {}, body, silence=READ_SECONDS + work)

        # What is between may give up before a long commit is done; it goes on, and is asked for again.
        answer = _patiently(commit, _PATIENCE + work)
        return self._client.read(answer, tuple[Artifact, ...])

    def abandon(self) -> None:
        """Drop what was sent, unless another can go on with it."""
        if self._position is None:
            self.drop()

    def drop(self) -> None:
        """Drop what was sent."""
        self._client.call(_ABANDON, {"run_id": self._run_id, "upload_id": self._id})

    def _send(self, path: str, offset: int, content: bytes, total: int) -> None:
        digest = hashlib.sha256(content).hexdigest()
        known = self._there.get((path, offset))
        if known == digest:
            return
        if known is not None:
            # Other bytes than the last time: what is there is of no use.
            self.drop()
            raise Unavailable(f"{path!r} was changed since its upload began; send it again")
        url = filled(UPLOAD_CONTENT, run_id=self._run_id, upload_id=self._id)
        query = {"path": path, "offset": offset, "total": total}
        _patiently(lambda: put_bytes(self._client, url, query, content, digest))


def put_bytes(
    client: Client, path: str, query: Mapping[str, Any], content: bytes, digest: str | None = None
) -> urllib3.BaseHTTPResponse:
    """The service's answer to bytes. They may be sent twice: the second time changes nothing."""
    digest = digest or hashlib.sha256(content).hexdigest()
    headers = {"Content-Type": "application/octet-stream", DIGEST_HEADER: digest}
    return client.send("PUT", path, query, content, headers=headers, repeatable=True)


def _patiently(call: Callable[[], T], seconds: float = _PATIENCE) -> T:
    """What ``call`` gives, made again for as long as its service is unavailable."""
    end, pause = time.monotonic() + seconds, _SHORTEST_PAUSE
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
