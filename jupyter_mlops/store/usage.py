"""What owners hold, counted, and the quotas that limit it.

The counters change in the transaction of what they count, after which it waits for nothing that others hold: so who
waits for a counter holds nobody up who has one. Of a limited owner, on PostgreSQL, charging transactions pass one by
one, so that no two of them, of whichever replica, find the same room; all others share only the counters of one
experiment or model, for the time of a commit.

Bytes of open uploads in parts (:mod:`.staging`) count too. Their counters are in the rows of the uploads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.quotas import Quota, Usage, quota_of, require_room
from jupyter_mlops.core.records import Lifecycle, RunStatus
from jupyter_mlops.store import ownerrules, schema, writes
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.schema_limits import usage
from jupyter_mlops.store.upsert import Upsert
from jupyter_mlops.store.writes import Part

_FIELDS = ("runs", "bytes", "points")
"""What there are counters of."""
_LIMITED = (*_FIELDS, "running")
_AT_ONCE = 100
"""Holders that are counted anew in one transaction, at most."""
_RUNS_AT_ONCE = 20_000
"""Runs, roughly, of several holders that are: others wait to write for so long."""
_LOCKS = 0x6D6C
"""Keeps apart the advisory locks of quotas from those of others."""

_usage = usage.c
_run = schema.run.c
_experiment = schema.experiment.c
_model = schema.model.c
_version = schema.model_version.c
_artifact = schema.artifact.c
_blob = schema.blob.c
_metric = schema.metric.c
_upload = schema.upload.c
HELD = sa.case((_upload.declared > _upload.bytes, _upload.declared), else_=_upload.bytes)
"""What of an open upload counts, for a statement about the table ``upload``; null for a mere lease."""


class Growth(msgspec.Struct, frozen=True):
    """By how much more an experiment or a model holds; less where negative. ``owner`` is needed where it is more."""

    holder: str
    owner: str = ""
    runs: int = 0
    bytes: int = 0
    points: int = 0
    running: int = 0
    """Runs that begin after they were submitted; counted where a quota asks for it, by their status."""


def _add(insert: Any) -> Any:
    statement = insert(usage)
    sums = {name: _usage[name] + statement.excluded[name] for name in _FIELDS}
    return statement.on_conflict_do_update(index_elements=["holder"], set_=sums)


def _put(insert: Any) -> Any:
    statement = insert(usage)
    return statement.on_conflict_do_update(
        index_elements=["holder"], set_={name: statement.excluded[name] for name in _FIELDS}
    )


_ADD = Upsert(_add)
_PUT = Upsert(_put)
_APPEAR = Upsert(lambda insert: insert(usage).on_conflict_do_nothing())
ANY_QUOTA = ownerrules.any_of(ownerrules.QUOTA)
"""Whether anybody is limited, for a statement that is asked anyway."""
_ADVISORY_LOCK = sa.select(sa.func.pg_advisory_xact_lock(_LOCKS, sa.bindparam("owner", type_=sa.Integer)))


class Charge:
    """What a transaction adds, or takes away: first :meth:`addition`, last of all that it writes, then
    :meth:`require_room`."""

    def __init__(self, growths: Iterable[Growth]) -> None:
        holders: dict[str, dict[str, int]] = {}
        owners: dict[str, dict[str, int]] = {}
        for growth in growths:
            for key, sums, names in ((growth.holder, holders, _FIELDS), (growth.owner, owners, _LIMITED)):
                total = sums.setdefault(key, dict.fromkeys(names, 0))
                for name in names:
                    total[name] += getattr(growth, name)
        self._rows = [{"holder": holder, **total} for holder, total in sorted(holders.items()) if any(total.values())]
        self._growing = {owner: Usage(**total) for owner, total in owners.items() if max(total.values()) > 0}

    def addition(self, connection: Connection) -> Part:
        """What counts it."""
        return _ADD.on(connection), self._rows

    def require_room(self, connection: Connection, replaced: int = 0) -> None:
        """Raise ``QuotaExceeded`` when an owner has more now than they may have, of what it has added to. Of so many
        bytes, ``replaced``, the room is given back before what was added becomes a file."""
        growing = self._growing
        rules = quotas(connection) if growing else {}
        limits = {owner: quota_of(owner, rules)[1] for owner in growing} if rules else {}
        limited = sorted(
            owner for owner, grown in growing.items() if owner in limits and _concerns(limits[owner], grown)
        )
        if not limited:
            return
        if connection.dialect.name == "postgresql":
            # Without looking at what others have not committed yet; the next statement sees what they had.
            for key in sorted({zlib.crc32(owner.encode()) - (1 << 31) for owner in limited}):
                connection.execute(_ADVISORY_LOCK, {"owner": key})
        used = of_owners(connection, limited)
        if any(growing[owner].running for owner in limited):
            used = with_running(connection, used)
        for owner in limited:
            held = msgspec.structs.replace(used[owner], bytes=used[owner].bytes - replaced)
            require_room(owner, held, limits[owner], growing[owner])


def charge(connection: Connection, growths: Iterable[Growth]) -> None:
    """Count what the transaction has added or taken away, as the last thing that it does.

    Raises
    ------
    QuotaExceeded
        An owner has more now than they may have, of what it has added to.
    """
    made = Charge(growths)
    writes.insert(connection, made.addition(connection))
    made.require_room(connection)


def require_room_for(connection: Connection, holder: str, owner: str) -> None:
    """Raise ``QuotaExceeded`` when an owner to whom the transaction has given an experiment or a model has more with it
    than they may have."""
    query = sa.select(*(_usage[name] for name in _FIELDS)).where(_usage.holder == holder)
    uploads = sa.select(sa.literal(0), HELD, sa.literal(0)).where(_upload.experiment_id == holder)
    held = [Growth(holder, owner, **_plain(row)) for row in connection.execute(query.union_all(uploads))]
    Charge(held).require_room(connection)


def _concerns(quota: Quota, grown: Usage) -> bool:
    return any(getattr(quota, name) is not None and getattr(grown, name) > 0 for name in _LIMITED)


def quotas(connection: Connection) -> dict[str, Quota]:
    """All quotas that were set, by subject."""
    return ownerrules.by_subject(connection, ownerrules.QUOTA, Quota)


def of_owners(connection: Connection, owners: Sequence[str] | None = None) -> dict[str, Usage]:
    """What owners hold; who holds nothing is there too. All that hold something when None."""
    parts = []
    for table in (schema.experiment, schema.model):
        columns = (table.c.owner.label("owner"), *(_usage[name].label(name) for name in _FIELDS))
        part = sa.select(*columns).join(usage, _usage.holder == table.c.id)
        parts.append(part if owners is None else part.where(among(table.c.owner, "owners", owners)))
    uploads = sa.select(_experiment.owner, sa.literal(0), HELD, sa.literal(0)).join(
        schema.upload, _upload.experiment_id == _experiment.id
    )
    parts.append(uploads if owners is None else uploads.where(among(_experiment.owner, "owners", owners)))
    held = sa.union_all(*parts).subquery()
    query = sa.select(held.c.owner, *(sa.func.sum(held.c[name]) for name in _FIELDS)).group_by(held.c.owner)
    found = {row[0]: Usage(**_plain(row[1:])) for row in connection.execute(query)}
    return found if owners is None else {owner: found.get(owner, Usage()) for owner in owners}


def with_running(connection: Connection, held: Mapping[str, Usage]) -> dict[str, Usage]:
    """With the runs of the owners that are being done now."""
    query = (
        sa.select(_experiment.owner, sa.func.count())
        .join(schema.run, _run.experiment_id == _experiment.id)
        .where(
            _run.status == RunStatus.RUNNING.value,
            _run.lifecycle == Lifecycle.ACTIVE.value,
            among(_experiment.owner, "owners", list(held)),
        )
        .group_by(_experiment.owner)
    )
    running = {row[0]: row[1] for row in connection.execute(query)}
    return {owner: msgspec.structs.replace(used, running=running.get(owner, 0)) for owner, used in held.items()}


def of_runs(connection: Connection, run_ids: Sequence[str]) -> list[Growth]:
    """What is gone when the runs are: the opposite of what they hold, by experiment."""
    return [
        Growth(experiment_id, runs=-held["runs"], bytes=-held["bytes"], points=-held["points"])
        for experiment_id, held in _counted_runs(connection, among(_run.id, "runs", run_ids)).items()
    ]


def forget(connection: Connection, holders: Sequence[str]) -> None:
    """Count no more for experiments and models that are gone."""
    connection.execute(usage.delete().where(among(_usage.holder, "holders", holders)))


def recount(database: Database) -> int:
    """Set the counters to what there is; gives how many were wrong. Others go on writing meanwhile."""
    with database.read() as connection:
        holders = set(connection.execute(sa.select(_experiment.id)).scalars())
        models = set(connection.execute(sa.select(_model.id)).scalars())
        told = {row.holder: row.runs for row in connection.execute(sa.select(_usage.holder, _usage.runs))}
    stray = sorted(told.keys() - holders - models)
    wrong = 0
    for portion in _portions(sorted(holders | models), told):
        with database.write() as connection:
            wrong += _recount(connection, portion)
    if stray:
        with database.write() as connection:
            forget(connection, stray)
    return wrong + len(stray)


def _portions(holders: Sequence[str], runs: Mapping[str, int]) -> Iterator[list[str]]:
    """The holders in portions for one transaction each, by how many ``runs`` they are said to have."""
    portion: list[str] = []
    size = 0
    for holder in holders:
        if portion and (len(portion) == _AT_ONCE or size + runs.get(holder, 0) > _RUNS_AT_ONCE):
            yield portion
            portion, size = [], 0
        portion.append(holder)
        size += runs.get(holder, 0)
    if portion:
        yield portion


def _recount(connection: Connection, holders: Sequence[str]) -> int:
    """Whoever changes what a holder has changes its counter too, later: with the counter locked, what they have not
    committed is neither seen in what there is nor in the counter, and they add it afterwards."""
    nothing = [{"holder": holder, **dict.fromkeys(_FIELDS, 0)} for holder in holders]
    connection.execute(_APPEAR.on(connection), nothing)
    query = sa.select(usage).where(among(_usage.holder, "holders", holders)).order_by(_usage.holder).with_for_update()
    told = {row.holder: {name: getattr(row, name) for name in _FIELDS} for row in connection.execute(query)}
    there = {holder: dict.fromkeys(_FIELDS, 0) for holder in holders}
    there |= _counted_runs(connection, among(_run.experiment_id, "experiments", holders))
    there |= _counted_versions(connection, among(_version.model_id, "models", holders))
    rows = [{"holder": holder, **held} for holder, held in there.items() if held != told.get(holder)]
    if rows:
        connection.execute(_PUT.on(connection), rows)
    return len(rows)


def _counted_runs(connection: Connection, which: sa.ColumnElement[bool]) -> dict[str, dict[str, int]]:
    """What runs hold, by experiment."""
    number = sa.select(_run.experiment_id, sa.func.count()).where(which).group_by(_run.experiment_id)
    files = (
        sa.select(_run.experiment_id, sa.func.sum(_blob.size))
        .select_from(schema.run)
        .join(schema.artifact, _artifact.holder == _run.id)
        .join(schema.blob, _blob.id == _artifact.blob_id)
        .where(which)
        .group_by(_run.experiment_id)
    )
    points = (
        sa.select(_run.experiment_id, sa.func.sum(_metric.count))
        .select_from(schema.run)
        .join(schema.metric, _metric.run_id == _run.id)
        .where(which)
        .group_by(_run.experiment_id)
    )
    found: dict[str, dict[str, int]] = {}
    for name, query in zip(_FIELDS, (number, files, points), strict=True):
        for experiment_id, count in connection.execute(query):
            found.setdefault(experiment_id, dict.fromkeys(_FIELDS, 0))[name] = int(count)
    return found


def _counted_versions(connection: Connection, which: sa.ColumnElement[bool]) -> dict[str, dict[str, int]]:
    """What versions hold, by model."""
    query = (
        sa.select(_version.model_id, sa.func.sum(_blob.size))
        .select_from(schema.model_version)
        .join(schema.artifact, _artifact.holder == _version.id)
        .join(schema.blob, _blob.id == _artifact.blob_id)
        .where(which)
        .group_by(_version.model_id)
    )
    return {model_id: _plain((0, size, 0)) for model_id, size in connection.execute(query)}


def _plain(counts: Sequence[Any]) -> dict[str, int]:
    """PostgreSQL's sums are decimals."""
    return {name: int(count) for name, count in zip(_FIELDS, counts, strict=True)}
