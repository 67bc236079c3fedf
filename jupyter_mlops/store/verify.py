"""Whether the bytes of all artifacts are there, and are those that were stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import sqlalchemy as sa

from jupyter_mlops.core.errors import IntegrityError
from jupyter_mlops.store import schema
from jupyter_mlops.store.blobs import Blob, BlobStore

_AT_ONCE = 500
_MOST_PLACES = 20

_blob = schema.blob.c
_artifact = schema.artifact.c
_PAGE = (
    sa.select(_blob.id, _blob.digest, _blob.size)
    .where(_blob.id > sa.bindparam("last"))
    .order_by(_blob.id)
    .limit(_AT_ONCE)
)
_USES = (
    sa.select(
        _artifact.path,
        schema.run.c.name,
        schema.model.c.name,
        schema.model_version.c.version,
    )
    .select_from(schema.artifact)
    .outerjoin(schema.run, schema.run.c.id == _artifact.holder)
    .outerjoin(schema.model_version, schema.model_version.c.id == _artifact.holder)
    .outerjoin(schema.model, schema.model.c.id == schema.model_version.c.model_id)
    .where(_artifact.blob_id == sa.bindparam("blob"))
    .limit(_MOST_PLACES)
)


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Stored bytes that are gone, or others than they were."""

    key: str
    """Of the object in the artifact location."""
    digest: str
    """SHA-256 of what was stored, in hex."""
    size: int
    why: str
    places: tuple[str, ...]
    """Files that have these bytes, 20 at most: ``run NAME: PATH``, ``MODEL VERSION: PATH``."""


def damaged(blobs: BlobStore, on_read: Callable[[int], None] | None = None) -> Iterator[Damage]:
    """Read everything once, and give what is damaged.

    Parameters
    ----------
    on_read
        Told the size of each object that was read, in bytes.

    Raises
    ------
    Unavailable
        The location, or the database, does not answer.
    """
    for page in pages(blobs):
        for blob in page:
            found = damage(blobs, blob)
            if found is not None:
                yield found
            if on_read is not None:
                on_read(blob.size)


def pages(blobs: BlobStore) -> Iterator[list[Blob]]:
    """All that is stored, in the order of its keys, some at a time."""
    last = ""
    while True:
        with blobs.database.read() as connection:
            page = [Blob(*row) for row in connection.execute(_PAGE, {"last": last})]
        if not page:
            return
        last = page[-1].id
        yield page


def damage(blobs: BlobStore, blob: Blob) -> Damage | None:
    """What is wrong with the stored bytes; nothing is, when they were collected meanwhile."""
    why = _why_damaged(blobs, blob)
    if why is None or not _is_kept(blobs, blob):
        return None
    return Damage(key=blob.id, digest=blob.digest, size=blob.size, why=why, places=_places(blobs, blob))


def _why_damaged(blobs: BlobStore, blob: Blob) -> str | None:
    try:
        for _ in blobs.read(blob, "it"):
            pass
    except IntegrityError as error:
        return error.message.removeprefix("it: ")
    return None


def _is_kept(blobs: BlobStore, blob: Blob) -> bool:
    with blobs.database.read() as connection:
        return connection.execute(sa.select(_blob.id).where(_blob.id == blob.id)).scalar() is not None


def _places(blobs: BlobStore, blob: Blob) -> tuple[str, ...]:
    with blobs.database.read() as connection:
        found = connection.execute(_USES, {"blob": blob.id}).all()
    return tuple(
        f"run {run}: {path}" if run is not None else f"{model} {version}: {path}"
        for path, run, model, version in found
        if run is not None or model is not None
    )
