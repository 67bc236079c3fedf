"""Bytes, once per content: streamed in while hashing, found by digest, verified when read.

How an upload stays safe from a collection (:mod:`jupyter_mlops.store.collect`) that runs at the same time:

- A new object's key is the id of its upload and no object is ever written twice, so that deleting what was collected
  cannot hit a later upload of the same content.
- An upload finds content that is stored already only in the transaction that also refers to it, under a lock that a
  collection respects. Until then it holds bytes of its own: in an object, or in memory small ones that this process has
  stored before, which become an object in that transaction when they are not there any more.
- An object that no row names is left alone while it is younger than :data:`GRACE_MS` (its key tells), or while its
  upload holds a lease. An upload that takes longer than :data:`RENEW_MS` takes leases for its objects and renews them;
  one that finds its leases gone, because it was suspended for long, fails and keeps nothing.

Files may be moved to another location (:mod:`jupyter_mlops.store.moving`) while others have the store open. These find
it out when they look for an object that came after the move, and in the transaction in which they keep an upload: what
they have written to the place before is then brought to the one of now.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from itertools import chain
from types import TracebackType
from typing import BinaryIO, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import IntegrityError, InvalidValue, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.store import schema, settings
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.objects import PIECE, Objects, open_location
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import Upsert

GRACE_MS = 60 * 60 * 1000
"""How long an object without a row, or a lease that was not renewed, is left alone."""
RENEW_MS = 5 * 60 * 1000
"""How often a long upload renews its leases."""
SMALL = 1 << 16
"""Bytes up to which what may be there already is held in memory instead of an object."""
_MOST_RECENT = 1_000
_STORE_ID = "store.id"
"""Under this setting, the id that keeps apart the stores sharing one artifact location."""


def now_ms() -> int:
    """The time of the wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Blob(msgspec.Struct, frozen=True):
    """Stored bytes; ``id`` is their object's key, ``digest`` their SHA-256 in hex."""

    id: str
    digest: str
    size: int


class Place(NamedTuple):
    """Where objects are, and what the store has settled for it: None before it has."""

    settled: str | None
    objects: Objects


class BlobStore:
    """The bytes of one database's artifacts. Thread-safe.

    Parameters
    ----------
    database
        Holds the rows.
    location
        Where the objects are: a folder, or an fsspec URL.
    clock
        The time in milliseconds since the epoch.
    """

    def __init__(self, database: Database, location: str, clock: Callable[[], int] = now_ms) -> None:
        self.database = database
        self.clock = clock
        self._namespace = _store_id(database)
        with database.read() as connection:
            settled = settings.get(connection, settings.ARTIFACTS_URL)
        self._place = Place(settled, self.elsewhere(location))
        self._recent: dict[str, None] = {}
        """Digests of small blobs that were kept by this process, the latest ones last."""

    def note(self, blobs: Iterable[Blob]) -> None:
        """These are there now, and perhaps for long."""
        recent = {**self._recent, **dict.fromkeys(blob.digest for blob in blobs if blob.size <= SMALL)}
        self._recent = dict.fromkeys(list(recent)[-_MOST_RECENT:])

    def may_have(self, digest: str) -> bool:
        """Whether content was stored here of late."""
        return digest in self._recent

    @property
    def objects(self) -> Objects:
        """Where the objects are."""
        return self._place.objects

    @property
    def place(self) -> Place:
        return self._place

    def elsewhere(self, location: str) -> Objects:
        """Another place for the objects of this store."""
        return open_location(location, self._namespace)

    def follow(self) -> bool:
        """Use the location that the files were moved to since this was opened; whether they were."""
        with self.database.read() as connection:
            settled = settings.get(connection, settings.ARTIFACTS_URL)
        if settled is None or settled == self._place.settled:
            return False
        self._place = Place(settled, self.elsewhere(settled))
        return True

    def upload(self) -> Upload:
        """An upload of one or more files; a context manager."""
        return Upload(self)

    def read(self, blob: Blob, what: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes ``[start, stop)`` of ``blob`` in pieces, verified.

        A whole read is compared with the digest before its last piece is given; of a part, the length is checked.

        Raises
        ------
        IntegrityError
            The stored bytes are not those that were uploaded; the message names ``what``.
        InvalidValue
            The range is not one.
        """
        stop = blob.size if stop is None else min(stop, blob.size)
        if start < 0 or stop < 0:
            raise InvalidValue(f"{what}: a range of bytes starts and ends at 0 or later, not [{start}, {stop})")
        if start >= stop and blob.size:
            return iter(())
        try:
            pieces = self.objects.read(blob.id, start, stop)
        except FileNotFoundError as error:
            if self.follow():
                return self.read(blob, what, start, stop)
            raise IntegrityError(f"{what}: its bytes are missing from {self.objects.url} (key {blob.id})") from error
        return verified(pieces, blob, what, stop - start)

    def link(self, blob: Blob, seconds: int) -> str | None:
        """See :meth:`jupyter_mlops.store.objects.Objects.link`."""
        return self.objects.link(blob.id, seconds)


def verified(pieces: Iterator[bytes], blob: Blob, what: str, length: int) -> Iterator[bytes]:
    """The pieces, ``length`` bytes of ``blob``; ``IntegrityError``, which names ``what``, instead of the last one when
    they are not what was stored."""
    digest = hashlib.sha256() if length == blob.size else None
    held: bytes | None = None
    for piece in pieces:
        if held is not None:
            yield held
        held = piece
        length -= len(piece)
        if digest:
            digest.update(piece)
    if length or (digest and digest.hexdigest() != blob.digest):
        raise IntegrityError(
            f"{what}: the stored bytes do not match their digest, sha256 {blob.digest} (key {blob.id})"
        )
    if held is not None:
        yield held


def copy(blob: Blob, source: Objects, target: Objects, what: str) -> None:
    """Have the object of ``blob`` in ``target`` too. ``IntegrityError``, which names ``what``, when ``source`` does not
    have what was stored; then ``target`` has nothing of it either."""
    try:
        pieces = source.read(blob.id, 0, blob.size)
    except FileNotFoundError as error:
        raise IntegrityError(f"{what}: its bytes are missing from {source.url} (key {blob.id})") from error
    writer = target.create(blob.id)
    try:
        for piece in verified(pieces, blob, what, blob.size):
            writer.write(piece)
        writer.finish()
    except BaseException:
        writer.discard()
        raise


class Upload:
    """Files on their way in: ``add`` each, then ``keep`` them in the ``transaction`` that refers to them.

    Leaving the block drops what turned out to be stored already; and everything, when it is left before ``keep``.
    After an error from there on nobody knows whether the transaction was committed, so a collection decides.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._place = store.place
        self._added: dict[str, Blob] = {}
        self._held: dict[str, bytes] = {}
        """Small content that is likely to be stored already, by digest."""
        self._kept: set[str] | None = None
        self._found: tuple[Blob, ...] = ()
        self._leased: set[str] = set()
        self._renewed = store.clock()

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._store.note(self._found)
        if kind is None or self._kept is None:
            for key in self._added.keys() - (self._kept or set()):
                self._place.objects.remove(key)

    def add(self, source: BinaryIO) -> Blob:
        """Store what ``source`` has to read. The blob is the upload's own until it is kept."""
        first = source.read(PIECE)
        if len(first) > SMALL:
            return self.add_pieces(chain([first], iter(lambda: source.read(PIECE), b"")))
        rest = source.read(PIECE)
        digest = hashlib.sha256(first).hexdigest()
        if rest or not self._store.may_have(digest):
            return self.add_pieces(chain([first, rest], iter(lambda: source.read(PIECE), b"")))
        self._held[digest] = first
        return Blob(id=new_id(), digest=digest, size=len(first))

    def add_pieces(self, pieces: Iterable[bytes]) -> Blob:
        """Store the bytes that ``pieces`` are together."""
        file = self.start()
        try:
            for piece in pieces:
                file.write(piece)
            return file.finish()
        except BaseException:
            file.discard()
            raise

    def start(self) -> Incoming:
        """A file whose bytes come piece by piece; one at a time."""
        return Incoming(self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction for which all that was added is durable, and in the store's place until it ends."""
        self._place.objects.sync(list(self._added))
        while True:
            with self._store.database.write() as connection:
                if settings.hold(connection, settings.ARTIFACTS_URL) == self._place.settled:
                    try:
                        yield connection
                    except BaseException:
                        # Nothing is committed for sure, unlike when the commit itself fails.
                        self._kept = None
                        raise
                    return
            self._follow()

    def _follow(self) -> None:
        """Bring what was added to where the store's files were moved to meanwhile."""
        self._store.follow()
        before, self._place = self._place, self._store.place
        for blob in self._added.values():
            copy(blob, before.objects, self._place.objects, "the upload")
            before.objects.remove(blob.id)
        self._place.objects.sync(list(self._added))

    def keep(self, connection: Connection) -> dict[str, Blob]:
        """Give what was added its rows.

        Returns
        -------
        By digest, the blob to refer to: one that was stored already, else the upload's own. None of them can be
        collected before the transaction ends.

        Raises
        ------
        Unavailable
            The upload was suspended for so long that its bytes may have been collected.
        """
        leases = 0
        if self._leased:
            leases = connection.execute(schema.upload.delete().where(self._own_leases())).rowcount
        self._require_safe(leases, unleased=self._added.keys() - self._leased)
        now = self._store.clock()
        # No lease is renewed from here on: that is a transaction, for which this one would have to end first.
        self._renewed = now
        found = _insert_blobs(connection, self._added.values(), now, self._held)
        if gone := [self._held[digest] for digest in sorted(self._held.keys() - found.keys())]:
            found |= _insert_blobs(connection, [self.add_pieces([content]) for content in gone], now)
            self._place.objects.sync(list(self._added))
        self._found = tuple(found.values())
        self._kept = {blob.id for blob in found.values()} & self._added.keys()
        return found

    def _renew(self, key: str) -> None:
        now = self._store.clock()
        if now - self._renewed < RENEW_MS:
            return
        until = now + GRACE_MS
        with self._store.database.write() as connection:
            extend = schema.upload.update().where(self._own_leases()).values(lease_until=until)
            leases = connection.execute(extend).rowcount
            new = {*self._added, key} - self._leased
            self._require_safe(leases, unleased=new)
            if new:
                connection.execute(
                    schema.upload.insert(), [{"id": each, "started": now, "lease_until": until} for each in new]
                )
        self._leased |= new
        self._renewed = now

    def _own_leases(self) -> sa.ColumnElement[bool]:
        return among(schema.upload.c.id, "held", sorted(self._leased))

    def _require_safe(self, leases: int, unleased: Set[str]) -> None:
        # Whatever has no lease yet was begun after the last renewal, so that its own age protects it.
        too_old = unleased and self._store.clock() - self._renewed > GRACE_MS // 2
        if too_old or leases < len(self._leased):
            raise Unavailable("the upload was suspended for too long, its bytes may be gone; upload again")


class Incoming:
    """A file of an upload on its way in: ``write`` its bytes, then ``finish``, else ``discard``.

    No more than half of :data:`GRACE_MS` may pass from one piece to the next: then its object may be gone.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._key = new_id()
        self._digest = hashlib.sha256()
        self._size = 0
        self._writer = upload._place.objects.create(self._key)

    def write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._writer.write(piece)
        self._size += len(piece)
        self._upload._renew(self._key)

    def finish(self) -> Blob:
        """All bytes are there: the blob, which is the upload's own until it is kept."""
        self._writer.finish()
        blob = Blob(id=self._key, digest=self._digest.hexdigest(), size=self._size)
        self._upload._added[self._key] = blob
        return blob

    def discard(self) -> None:
        """Leave nothing behind; called instead of ``finish``, or when that fails."""
        self._writer.discard()


def _insert_blobs(
    connection: Connection, blobs: Iterable[Blob], now: int, digests: Iterable[str] = ()
) -> dict[str, Blob]:
    """The stored blob for the content of each, by digest, inserting those that are not there; and of those with the
    ``digests`` the ones that are there.

    They are taken in the order of their digests, and stay until the transaction ends: a collection passes over them.
    """
    wanted = {blob.digest: blob for blob in blobs}
    found: dict[str, Blob] = {}
    also = set(digests)
    while missing := sorted((wanted.keys() | also) - found.keys()):
        # More than one turn only when a collection removed a row between the two statements.
        rows = [msgspec.structs.asdict(wanted[digest]) | {"created": now} for digest in missing if digest in wanted]
        if rows:
            connection.execute(_APPEAR.on(connection), rows)
        also.clear()
        for row in connection.execute(_FOUND, {"digests": missing}):
            found[row.digest] = Blob(row.id, row.digest, row.size)
    return found


def total_size(connection: Connection) -> int:
    """The bytes of all that is stored."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(schema.blob.c.size), 0))).scalar_one())


def has_any(connection: Connection) -> bool:
    """Whether anything was ever stored that is there still."""
    return connection.execute(sa.select(schema.blob.c.id).limit(1)).first() is not None


def _store_id(database: Database) -> str:
    with database.read() as connection:
        known = settings.get(connection, _STORE_ID)
    if known is None:
        with database.write() as connection:
            settings.set_first(connection, _STORE_ID, new_id())
            known = settings.get(connection, _STORE_ID)
    assert known is not None
    return known


_FOUND = (
    sa.select(schema.blob.c.id, schema.blob.c.digest, schema.blob.c.size)
    .where(among(schema.blob.c.digest, "digests"))
    .order_by(schema.blob.c.digest)
    .with_for_update(read=True, key_share=True)
)
_APPEAR = Upsert(lambda insert: insert(schema.blob).on_conflict_do_nothing())
