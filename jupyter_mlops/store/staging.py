"""Uploads in parts: bytes that will be files of a run, of which nobody knows but who sends them.

A part is a blob like any other. A row of ``artifact`` refers to it, whose holder is the upload and whose path is that
of the file, a slash, and the number of the part's first byte: so that parts are spared by a collection and verified
when they are read as all bytes are. The upload's row in ``upload`` is its lease, which each part renews; of an upload
whose lease has run out, a collection removes the references.

Whoever writes calls :func:`hold` first: its row is the lock that keeps apart two parts at once, and a collection.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict, InvalidValue
from jupyter_mlops.core.records import Part
from jupyter_mlops.store import artifacts, schema
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.store.blobs import Blob

LEASE_MS = 24 * 60 * 60 * 1000
"""How long after its last part an upload may be gone on with."""
MOST_PARTS = 10_000
"""Of one file."""

_OFFSET_DIGITS = 16
_HOLD = {
    name: insert(schema.upload).on_conflict_do_update(
        index_elements=["id"], set_={"lease_until": sa.literal_column("excluded.lease_until")}
    )
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}


def holder_of(upload_id: str, run_id: str, user: str) -> str:
    """Who holds the parts: made from the user's name too, so that an upload's id leads nobody else to them."""
    return hashlib.sha256(f"{upload_id} {run_id} {user}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def hold(connection: Connection, holder: str, now: int) -> None:
    """Renew the upload's lease, and let no other transaction change the upload until this one ends."""
    row = {"id": holder, "started": now, "lease_until": now + LEASE_MS}
    connection.execute(_HOLD[connection.dialect.name], row)


def parts(connection: Connection, holder: str, path: str = "") -> dict[str, list[File]]:
    """The parts that are there, in their order, by the path of their file; of one file only if ``path`` is given."""
    found: dict[str, list[File]] = {}
    for part in artifacts.walk_files(connection, holder, path):
        name = part.path.rpartition("/")[0]
        if not path or name == path:
            found.setdefault(name, []).append(part)
    return found


def record(part: File) -> Part:
    path, _, offset = part.path.rpartition("/")
    return Part(path=path, offset=int(offset), size=part.blob.size, digest=part.blob.digest)


def reached(file: list[File]) -> int:
    """How many bytes of a file are there."""
    return sum(part.blob.size for part in file)


def check_offset(file: list[File], path: str, offset: int) -> None:
    """Refuse a part that neither follows what is there nor is there already.

    Raises
    ------
    Conflict
        The message says which byte is the next.
    InvalidValue
        There are too many parts already.
    """
    if any(record(part).offset == offset for part in file):
        return
    if offset != reached(file):
        raise Conflict(f"{path!r}: {reached(file)} bytes are there, so go on at byte {reached(file)}, not at {offset}")
    if len(file) >= MOST_PARTS:
        raise InvalidValue(f"{path!r}: a file has at most {MOST_PARTS} parts; send it in larger ones")


def add(connection: Connection, holder: str, path: str, offset: int, blob: Blob, now: int) -> Part:
    """Have the upload refer to one more part; the same one again changes nothing. Raises as :func:`check_offset`."""
    file = parts(connection, holder, path).get(path, [])
    check_offset(file, path, offset)
    added = File(f"{path}/{offset:0{_OFFSET_DIGITS}}", blob, now)
    there = next((part for part in file if part.path == added.path and part.blob.size), added)
    if there.blob.digest != blob.digest:
        raise Conflict(
            f"{path!r}: other bytes are there at {offset}, which may not change; go on at byte {reached(file)}, or "
            "begin another upload"
        )
    artifacts.refer(connection, holder, {added.path: blob}, now)
    return record(added)


def drop(connection: Connection, holder: str) -> None:
    """Give up the references and the lease."""
    artifacts.delete_files(connection, holder)
    connection.execute(schema.upload.delete().where(schema.upload.c.id == holder))
