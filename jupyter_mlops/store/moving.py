"""Moving all files of a store to another location, while others use it.

Objects are copied by their keys, which mean the same everywhere, and each is read back before it counts. What comes
meanwhile is copied by further passes, the last of it in the transaction that settles the new location: uploads hold
that setting in the transaction that keeps them (:meth:`jupyter_mlops.store.blobs.Upload.transaction`), so that none is
kept between. Nothing is removed from the old location. A move that was killed is begun again, and finds what it had
brought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict, IntegrityError, Unavailable
from jupyter_mlops.store import schema, settings
from jupyter_mlops.store.blobs import Blob, BlobStore, copy, verified
from jupyter_mlops.store.objects import Objects
from jupyter_mlops.store.verify import Damage, damage, pages

_AT_ONCE = 8
"""Objects on their way at the same time."""
_FEW = 20
"""So many that came during a pass are copied while uploads wait."""

_blob = schema.blob.c


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a move has done."""

    settled: bool
    """Whether the store has its files in the new location now."""
    objects: int
    bytes: int
    """Of all that is there."""
    damaged: tuple[Damage, ...]
    """What the old location has not as it was stored, and so the new one not at all."""


def move(
    blobs: BlobStore, location: str, *, skip_damaged: bool = False, on_moved: Callable[[int], None] | None = None
) -> Moved:
    """Copy all objects to ``location``, and settle it as the store's.

    Parameters
    ----------
    blobs
        The store, where its files are now.
    location
        A folder (absolute) or an fsspec URL.
    skip_damaged
        Settle the new location although something is damaged in the old one; otherwise it is not.
    on_moved
        Told the size of each object that is there, in bytes; from one thread at a time.

    Raises
    ------
    Unavailable
        A location does not answer, or the new one does not give what it was given.
    Conflict
        The files were moved by somebody else meanwhile.
    """
    bringing = _Bringing(blobs, blobs.elsewhere(location), on_moved or (lambda _: None))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="moving") as threads:
        while sum(bringing.all_of(page, threads) for page in pages(blobs)) > _FEW:
            pass
    settled = skip_damaged or not bringing.damaged
    if settled:
        with blobs.database.write() as connection:
            if settings.lock(connection, settings.ARTIFACTS_URL) != blobs.place.settled:
                raise Conflict("the files were moved by somebody else meanwhile; see `jupyter mlops db status`")
            rows = connection.execute(sa.select(_blob.id, _blob.digest, _blob.size))
            bringing.all_of([Blob(*row) for row in rows if row.id not in bringing.seen])
            settings.replace(connection, settings.ARTIFACTS_URL, location)
    return bringing.moved(settled)


class _Bringing:
    """A move's copies. ``seen`` are the keys that need no more looking at."""

    def __init__(self, blobs: BlobStore, target: Objects, on_moved: Callable[[int], None]) -> None:
        self._blobs = blobs
        self._target = target
        self._on_moved = on_moved
        self._found = {key for key, _ in target.listing()}
        self._objects = 0
        self._bytes = 0
        self.seen: set[str] = set()
        self.damaged: list[Damage] = []

    def all_of(self, wanted: Iterable[Blob], threads: ThreadPoolExecutor | None = None) -> int:
        """Have the objects in the new location, durably; how many were not seen before."""
        new = [blob for blob in wanted if blob.id not in self.seen]
        there = []
        for blob, is_there in zip(new, (threads.map if threads else map)(self._bring, new), strict=True):
            self.seen.add(blob.id)
            if is_there:
                there.append(blob.id)
                self._bytes += blob.size
                self._on_moved(blob.size)
        self._target.sync(there)
        self._objects += len(there)
        return len(new)

    def moved(self, settled: bool) -> Moved:
        return Moved(settled=settled, objects=self._objects, bytes=self._bytes, damaged=tuple(self.damaged))

    def _bring(self, blob: Blob) -> bool:
        """Whether the new location has it; not what is damaged, nor what was collected meanwhile."""
        if blob.id in self._found:
            if self._is_there(blob):
                return True
            # What a move that was killed has left unfinished. Where the new location is the old one by another name,
            # it is all that there is.
            if self._is_damaged(blob):
                return False
            self._target.remove(blob.id)
        try:
            copy(blob, self._blobs.objects, self._target, "it")
        except IntegrityError:
            self._is_damaged(blob)
            return False
        if not self._is_there(blob):
            raise Unavailable(f"{self._target.url} does not give what it was given (key {blob.id})")
        return True

    def _is_damaged(self, blob: Blob) -> bool:
        """Whether the old location has not what was stored, which is noted then."""
        found = damage(self._blobs, blob)
        if found is not None:
            self.damaged.append(found)
        return found is not None

    def _is_there(self, blob: Blob) -> bool:
        try:
            for _ in verified(self._target.read(blob.id, 0, blob.size), blob, "it", blob.size):
                pass
        except (FileNotFoundError, IntegrityError):
            return False
        return True
