"""Bytes for a service, which is brought what it stores and must say what it sends before it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from jupyter_mlops.core.errors import Conflict, InvalidValue
from jupyter_mlops.core.records import Artifact
from jupyter_mlops.store.blobs import Blob, BlobStore, Incoming, Upload
from jupyter_mlops.store.objects import PIECE
from jupyter_mlops.tracker.embedded.room import Room

T = TypeVar("T")

Reader = Callable[[int, int], Iterator[bytes]]
"""Gives the bytes ``[start, stop)`` of a file that was found, in pieces, verified."""


class Found(NamedTuple):
    """A file as it is now, and its bytes, whatever is stored under its path from then on."""

    file: Artifact
    read: Reader
    link: Callable[[int], str | None]
    """Gives a URL by which anybody can read the bytes for so many seconds; None where there is no such thing."""


class Receiving(Generic[T]):
    """A file on its way in: ``write`` its pieces, then ``finish``, else ``discard``. Thread-safe.

    Nothing is taken in the artifact location before the first piece, so that whoever waits for it costs nothing.

    Parameters
    ----------
    blobs
        Where the bytes go.
    keep
        Called when they are there; gives what ``finish`` gives.
    room
        Where they are to have room.
    before
        Bytes of the file that came before these.
    needed
        Gives how many bytes more than count already there are when so many have come; as many when None.
    """

    def __init__(
        self,
        blobs: BlobStore,
        keep: Callable[[Upload, Blob], T],
        room: Room,
        before: int = 0,
        needed: Callable[[int], int] | None = None,
    ) -> None:
        self._blobs = blobs
        self._keep = keep
        self._room = room
        self._before = before
        self._needed = needed
        self._size = 0
        self._turn = threading.Lock()
        self._started: tuple[Upload, Incoming] | None = None
        self._over = False

    def expect(self, size: int) -> None:
        """So many bytes will come, if whoever sends them is right; after an error nothing is left to discard."""
        with self._turn:
            try:
                self._take(size)
            except BaseException:
                self._discard()
                raise

    def write(self, piece: bytes) -> None:
        """Store one more piece; after an error nothing is left to discard."""
        with self._turn:
            try:
                self._size += len(piece)
                self._take(self._size)
                self._incoming()[1].write(piece)
            except BaseException:
                self._discard()
                raise

    def finish(self, digest: str | None = None) -> T:
        """All bytes were written; ``InvalidValue`` when ``digest``, their SHA-256 in hex, says that they were not."""
        with self._turn:
            try:
                upload, incoming = self._incoming()
                blob = incoming.finish()
            except BaseException:
                self._discard()
                raise
            self._over = True
            # Before they are counted where they are kept: counted twice, they would take room from others.
            self._room.close()
            with upload:
                if digest is not None and digest != blob.digest:
                    raise InvalidValue(f"what came has the SHA-256 {blob.digest}, not {digest[:64]!r}: send it again")
                return self._keep(upload, blob)

    def discard(self) -> None:
        """Leave nothing behind. Harmless after the end."""
        with self._turn:
            self._discard()

    def _take(self, size: int) -> None:
        self._room.take(size if self._needed is None else self._needed(size), self._before + size)

    def _incoming(self) -> tuple[Upload, Incoming]:
        if self._over:
            raise Conflict("this upload has ended")
        if self._started is None:
            upload = self._blobs.upload()
            self._started = upload, upload.start()
        return self._started

    def _discard(self) -> None:
        self._room.close()
        if self._started is not None and not self._over:
            self._started[1].discard()
        self._over = True


def received(receiving: Receiving[T], source: BinaryIO) -> T:
    """What comes of all that ``source`` has to read."""
    try:
        while piece := source.read(PIECE):
            receiving.write(piece)
    except BaseException:
        receiving.discard()
        raise
    return receiving.finish()
