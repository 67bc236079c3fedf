"""Uploads in parts: bytes that will be files of a run, of which nobody knows but who sends them.

A part is a blob like any other. A row of ``artifact`` refers to it, whose holder is the upload and whose path is that
of the file, a slash, and the number of the part's first byte: so that parts are spared by a collection and verified
when they are read as all bytes are. The upload's row in ``upload`` is its lease, which each part renews; of an upload
whose lease has run out, a collection removes the references, and so does the daily upkeep of a service. The row also
says how many bytes the parts have, and are to have; these count for the owner of the experiment until then
(:mod:`.usage`).

Whoever writes calls :func:`hold` first: its row is the lock that keeps apart two parts at once, and a collection.
"""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict, InvalidValue
from jupyter_mlops.core.records import Part
from jupyter_mlops.store import artifacts, schema, usage
from jupyter_mlops.store.artifacts import File
from jupyter_mlops.store.blobs import Blob
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import Upsert

LEASE_MS = 24 * 60 * 60 * 1000
"""How long after its last part an upload may be gone on with."""
MOST_PARTS = 10_000
"""Of one file."""

_OFFSET_DIGITS = 16
_upload = schema.upload.c


def _hold(insert: Any) -> Any:
    statement = insert(schema.upload)
    return statement.on_conflict_do_update(index_elements=["id"], set_={"lease_until": statement.excluded.lease_until})


_HOLD = Upsert(_hold)


def holder_of(upload_id: str, run_id: str, user: str) -> str:
    """Who holds the parts: made from the user's name too, so that an upload's id leads nobody else to them."""
    return hashlib.sha256(f"{upload_id} {run_id} {user}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def hold(connection: Connection, holder: str, experiment_id: str, now: int) -> None:
    """Renew the upload's lease, and let no other transaction change the upload until this one ends. Its bytes count for
    the owner of the experiment."""
    row = {
        "id": holder,
        "started": now,
        "lease_until": now + LEASE_MS,
        "experiment_id": experiment_id,
        "bytes": 0,
        "declared": 0,
    }
    connection.execute(_HOLD.on(connection), row)


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


def counted(connection: Connection, holder: str) -> int:
    """How many bytes of the upload count for the owner."""
    return connection.execute(sa.select(usage.HELD).where(_upload.id == holder)).scalar() or 0


def add(connection: Connection, holder: str, path: str, offset: int, blob: Blob, now: int, *, declared: int = 0) -> int:
    """Have the upload, which is to have ``declared`` bytes at least, refer to one more part; the same one again changes
    nothing. Gives how many bytes more than before count for the owner. Raises as :func:`check_offset`."""
    file = parts(connection, holder, path).get(path, [])
    check_offset(file, path, offset)
    name = f"{path}/{offset:0{_OFFSET_DIGITS}}"
    there = next((part.blob for part in file if part.path == name and part.blob.size), None)
    if there is not None and there.digest != blob.digest:
        raise Conflict(
            f"{path!r}: other bytes are there at {offset}, which may not change; go on at byte {reached(file)}, or "
            "begin another upload"
        )
    artifacts.refer(connection, holder, {name: blob}, now)
    before = counted(connection, holder)
    more = {"bytes": _upload.bytes + (0 if there else blob.size)}
    more["declared"] = sa.case((_upload.declared < declared, declared), else_=_upload.declared)
    connection.execute(schema.upload.update().where(_upload.id == holder).values(more))
    return counted(connection, holder) - before


def drop(connection: Connection, holder: str) -> None:
    """Give up the references and the lease."""
    artifacts.delete_files(connection, holder)
    connection.execute(schema.upload.delete().where(_upload.id == holder))


def any_overdue(connection: Connection, now: int) -> bool:
    """Whether there are uploads whose lease has run out."""
    return connection.execute(sa.select(_upload.id).where(_upload.lease_until < now).limit(1)).first() is not None


def expire(connection: Connection, now: int) -> None:
    """Delete the leases that have run out, and the references of uploads in parts that were abandoned."""
    expired = schema.upload.delete().where(_upload.lease_until < now).returning(_upload.id)
    holders = connection.execute(expired).scalars().all()
    connection.execute(schema.artifact.delete().where(among(schema.artifact.c.holder, "uploads", holders)))


def recount(database: Database) -> int:
    """Set what uploads are said to have to what their parts have; gives how many were wrong."""
    parts = (
        sa.select(sa.func.coalesce(sa.func.sum(schema.blob.c.size), 0))
        .join(schema.artifact, schema.artifact.c.blob_id == schema.blob.c.id)
        .where(schema.artifact.c.holder == _upload.id)
        .scalar_subquery()
    )
    with database.read() as connection:
        wrong = connection.execute(sa.select(_upload.id).where(_upload.bytes != parts)).scalars().all()
    for holder in wrong:
        # One at a time, and locked first: who locks several would have to lock them in everybody's order.
        with database.write() as connection:
            connection.execute(sa.select(_upload.id).where(_upload.id == holder).with_for_update())
            connection.execute(schema.upload.update().where(_upload.id == holder).values(bytes=parts))
    return len(wrong)
