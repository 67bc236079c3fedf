"""Collection: deleted runs and experiments go for good, and so do bytes that nothing refers to.

Rows go before objects: what a crash in between leaves is an object without a row, which the next collection finds. How
uploads at the same time stay safe is told in :mod:`jupyter_mlops.store.blobs`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.records import Collected, Lifecycle
from jupyter_mlops.store import schema, staging, usage
from jupyter_mlops.store.blobs import GRACE_MS, BlobStore
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.experiments import tell_of_runs
from jupyter_mlops.store.lineage import held_runs
from jupyter_mlops.store.parameters import among

_AT_ONCE = 500
"""Rows in one transaction, so that others get their turn to write."""

_run = schema.run.c
_experiment = schema.experiment.c
_blob = schema.blob.c
_upload = schema.upload.c
_artifact = schema.artifact.c


def collect(
    database: Database, blobs: BlobStore, cutoff: int, *, grace_ms: int = GRACE_MS, seconds: float = math.inf
) -> Collected:
    """Remove what was deleted at ``cutoff`` (milliseconds since the epoch) or before, then all bytes that nothing
    refers to. Runs that promoted models descend from stay.

    Parameters
    ----------
    grace_ms
        Protects the objects of uploads that have no lease yet; with less than the default, an upload that goes on at
        the same time can lose its bytes.
    seconds
        After which it ends unfinished, a little later, with something done.
    """
    deadline = time.monotonic() + seconds
    runs = experiments = count = size = 0

    def collected(unfinished: bool) -> Collected:
        return Collected(experiments=experiments, runs=runs, blobs=count, bytes=size, unfinished=unfinished)

    blobs.follow()
    for deleted in _delete_runs(database, cutoff, blobs.clock):
        runs += deleted
        if deleted and time.monotonic() >= deadline:
            return collected(unfinished=True)
    experiments = sum(_delete_experiments(database, cutoff, blobs.clock))
    with database.write() as connection:
        staging.expire(connection, blobs.clock())
    lost = _lost_objects(database, blobs, blobs.clock() - grace_ms, leased=sa.true())
    for part in chain(_delete_blobs(database), lost):
        for key, freed in part.items():
            blobs.objects.remove(key)
            count += 1
            size += freed
        if part and time.monotonic() >= deadline:
            return collected(unfinished=True)
    return collected(unfinished=False)


def preview(database: Database, blobs: BlobStore, cutoff: int, *, grace_ms: int = GRACE_MS) -> Collected:
    """What :func:`collect` would remove now."""
    blobs.follow()
    now = blobs.clock()
    with database.read() as connection:
        gone = _collectable(connection, cutoff)
        kept = sa.and_(
            ~sa.exists().where(_run.id == _artifact.holder, gone),
            ~sa.exists().where(_upload.id == _artifact.holder, _upload.lease_until < now),
        )
        freed = _unreferred(kept).with_only_columns(sa.func.count(), sa.func.coalesce(sa.func.sum(_blob.size), 0))
        emptied = _deleted_experiments(cutoff, sa.not_(gone))
        runs = connection.execute(sa.select(sa.func.count()).where(gone)).scalar_one()
        experiments = connection.execute(emptied.with_only_columns(sa.func.count())).scalar_one()
        count, size = connection.execute(freed).one()
    size = int(size)
    for part in _lost_objects(database, blobs, now - grace_ms, leased=_upload.lease_until >= now):
        count += len(part)
        size += sum(part.values())
    return Collected(experiments=experiments, runs=runs, blobs=count, bytes=size)


def _deleted_run(cutoff: int) -> sa.ColumnElement[bool]:
    return sa.and_(_run.lifecycle == Lifecycle.DELETED.value, _run.deleted_at <= cutoff)


def _collectable(connection: Connection, cutoff: int) -> sa.ColumnElement[bool]:
    """Of the deleted runs those that no promoted model descends from."""
    return sa.and_(_deleted_run(cutoff), ~among(_run.id, "held", sorted(held_runs(connection))))


def _deleted_experiments(cutoff: int, staying: sa.ColumnElement[bool]) -> sa.Select[str]:
    """Deleted experiments that hold none of the runs ``staying``. A deletion is the last update."""
    holds = sa.exists().where(_run.experiment_id == _experiment.id, staying)
    deleted = sa.and_(_experiment.lifecycle == Lifecycle.DELETED.value, _experiment.updated <= cutoff)
    return sa.select(_experiment.id).where(deleted, sa.not_(holds))


def _unreferred(reference: sa.ColumnElement[bool]) -> sa.Select[str]:
    """Blobs that no artifact for which ``reference`` holds refers to."""
    return sa.select(_blob.id).where(sa.not_(sa.exists().where(_artifact.blob_id == _blob.id, reference)))


def _delete_runs(database: Database, cutoff: int, clock: Callable[[], int]) -> Iterator[int]:
    after: tuple[int, str] | None = (0, "")
    while after is not None:
        with database.write() as connection:
            found = (
                sa.select(_run.start_time, _run.id, _run.experiment_id)
                .where(_collectable(connection, cutoff), sa.tuple_(_run.start_time, _run.id) > after)
                .order_by(_run.start_time, _run.id)
                .limit(_AT_ONCE)
            )
            rows = connection.execute(found.with_for_update(skip_locked=True)).all()
            runs = [row.id for row in rows]
            gone = usage.of_runs(connection, runs) if runs else []
            connection.execute(schema.artifact.delete().where(among(_artifact.holder, "runs", runs)))
            connection.execute(schema.run.delete().where(among(_run.id, "runs", runs)))
            tell_of_runs(connection, {row.experiment_id for row in rows}, clock())
            usage.charge(connection, gone)
        after = (rows[-1].start_time, rows[-1].id) if len(rows) == _AT_ONCE else None
        yield len(runs)


def _delete_experiments(database: Database, cutoff: int, clock: Callable[[], int]) -> Iterator[int]:
    found = _deleted_experiments(cutoff, sa.true()).limit(_AT_ONCE).with_for_update(skip_locked=True)
    while True:
        with database.write() as connection:
            experiments = connection.execute(found).scalars().all()
            tell_of_runs(connection, experiments, clock())
            connection.execute(schema.experiment.delete().where(among(_experiment.id, "experiments", experiments)))
            usage.forget(connection, experiments)
        yield len(experiments)
        if not experiments:
            return


def _delete_blobs(database: Database) -> Iterator[dict[str, int]]:
    """Delete the rows of blobs that nothing refers to; gives the sizes of their objects by their keys."""
    last = ""
    while True:
        page = _unreferred(sa.true()).where(_blob.id > last).order_by(_blob.id).limit(_AT_ONCE)
        with database.read() as connection:
            found = connection.execute(page).scalars().all()
        if not found:
            return
        last = found[-1]
        yield _delete_unreferred(database, found)


def _delete_unreferred(database: Database, found: Sequence[str]) -> dict[str, int]:
    """Of the blobs, delete the rows of those that nothing refers to; gives the sizes of their objects by their keys."""
    with database.write() as connection:
        # Once locked, looked at again: an upload may have found a blob before the lock, but none does after it.
        lock = sa.select(_blob.id).where(among(_blob.id, "blobs", found)).with_for_update(skip_locked=True)
        locked = connection.execute(lock).scalars().all()
        still = _unreferred(sa.true()).where(among(_blob.id, "blobs", locked))
        delete = schema.blob.delete().where(_blob.id.in_(still)).returning(_blob.id, _blob.size)
        return {row.id: row.size for row in connection.execute(delete)}


def free(database: Database, blobs: BlobStore, found: Sequence[str]) -> None:
    """Remove those of the blobs, by their ids, that nothing refers to, and that nobody may be reading: what only an
    upload has had. What the artifact location does not remove now is left to a collection."""
    for start in range(0, len(found), _AT_ONCE):
        for key in _delete_unreferred(database, found[start : start + _AT_ONCE]):
            with suppress(MLOpsError):
                blobs.objects.remove(key)


def _lost_objects(
    database: Database, blobs: BlobStore, before: int, leased: sa.ColumnElement[bool]
) -> Iterator[dict[str, int]]:
    """The sizes of objects begun ``before``, by their keys, that have no row and no lease of those for which ``leased``
    holds."""
    objects = blobs.objects.listing()
    while part := list(islice(objects, _AT_ONCE)):
        old = {key: size for key, size in part if _begun(key) <= before}
        known = sa.union_all(
            sa.select(_blob.id).where(among(_blob.id, "keys", list(old))),
            sa.select(_upload.id).where(among(_upload.id, "keys", list(old)), leased),
        )
        with database.read() as connection:
            mine = set(connection.execute(known).scalars())
        yield {key: size for key, size in old.items() if key not in mine}


def _begun(key: str) -> int:
    """When an id was made, milliseconds since the epoch."""
    return int(key[:12], 16)
