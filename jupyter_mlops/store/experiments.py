"""Experiments: rows and records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from jupyter_mlops.core.records import Experiment, Lifecycle, Tag
from jupyter_mlops.store import schema
from jupyter_mlops.store.events import Event, add_events
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.schema_limits import usage
from jupyter_mlops.store.shares import Reach, within
from jupyter_mlops.store.upsert import Upsert

_experiment = schema.experiment.c
_tag = schema.experiment_tag.c
_run = schema.run.c

_COLUMNS = (
    _experiment.id,
    _experiment.name,
    _experiment.owner,
    _experiment.lifecycle,
    _experiment.created,
    _experiment.updated,
)
_BY_IDS = sa.select(*_COLUMNS).where(among(_experiment.id, "ids"))
_TAGS = (
    sa.select(_tag.experiment_id, _tag.key, _tag.value)
    .where(among(_tag.experiment_id, "ids"))
    .order_by(_tag.experiment_id, _tag.key)
)
# By their counters less what is deleted, and by the last entry of an index: to count what there is would be to look
# through the largest of all experiments, each time that a list of them is shown.
_latest = (
    sa.select(sa.func.max(_run.start_time))
    .where(_run.experiment_id == usage.c.holder, _run.lifecycle == Lifecycle.ACTIVE.value)
    .correlate(usage)
    .scalar_subquery()
)
_COUNTED = sa.select(usage.c.holder, usage.c.runs, _latest).where(among(usage.c.holder, "ids"))
_DELETED = (
    sa.select(_run.experiment_id, sa.func.count())
    .where(among(_run.experiment_id, "ids"), _run.lifecycle == Lifecycle.DELETED.value)
    .group_by(_run.experiment_id)
)


def _set_tag(insert: Any) -> Any:
    tag = insert(schema.experiment_tag)
    return tag.on_conflict_do_update(index_elements=["experiment_id", "key"], set_={"value": tag.excluded.value})


_INSERT = Upsert(lambda insert: insert(schema.experiment).on_conflict_do_nothing().returning(_experiment.id))
_SET_TAG = Upsert(_set_tag)


def add(connection: Connection, new: Experiment) -> bool:
    """Insert an experiment with its tags; False, and nothing is written, when its owner has one of that name."""
    row = {
        "id": new.experiment_id,
        "name": new.name,
        "owner": new.owner,
        "lifecycle": new.lifecycle.value,
        "created": new.created,
        "updated": new.updated,
    }
    if connection.execute(_INSERT.on(connection), row).first() is None:
        return False
    upsert_tags(connection, new.experiment_id, {tag.key: tag.value for tag in new.tags})
    return True


def load(connection: Connection, ids: Sequence[str], *, counted: bool = False) -> list[Experiment]:
    """The experiments of ``ids``, in that order, without those that do not exist; ``counted`` with their runs."""
    bound = {"ids": list(ids)}
    rows = {row[0]: row for row in connection.execute(_BY_IDS, bound)}
    tags: dict[str, list[Tag]] = defaultdict(list)
    for experiment_id, key, value in connection.execute(_TAGS, bound):
        tags[experiment_id].append(Tag(key, value))
    counts: dict[str, tuple[int, int]] = {}
    if counted:
        deleted = {row[0]: row[1] for row in connection.execute(_DELETED, bound)}
        counts = {row[0]: (row[1] - deleted.get(row[0], 0), row[2]) for row in connection.execute(_COUNTED, bound)}
    return [_record(rows[id], tags.get(id, ()), *counts.get(id, (0, None))) for id in ids if id in rows]


def get(connection: Connection, experiment_id: str) -> Experiment | None:
    """The experiment of an id, deleted or not."""
    found = load(connection, [experiment_id])
    return found[0] if found else None


def of_owner(connection: Connection, owner: str, name: str) -> Experiment | None:
    """The experiment that ``owner`` calls ``name``, deleted or not."""
    query = sa.select(_experiment.id).where(_experiment.owner == owner, _experiment.name == name)
    found = connection.execute(query).scalar()
    return None if found is None else get(connection, found)


def find(connection: Connection, name: str, reach: Reach | None) -> list[Experiment]:
    """The experiments called ``name`` within ``reach`` (anywhere when None)."""
    query = sa.select(_experiment.id).where(_experiment.name == name).order_by(_experiment.id)
    return load(connection, [row[0] for row in connection.execute(within(query, _experiment.id, reach))])


def lock(connection: Connection, experiment_id: str) -> None:
    """Let no other transaction change the experiment until this one ends; that runs are added to it included."""
    connection.execute(sa.select(_experiment.id).where(_experiment.id == experiment_id).with_for_update())


def transfer(connection: Connection, experiment_id: str, owner: str, now: int) -> None:
    """Give an owner who has no experiment of that name."""
    _update(connection, experiment_id, owner=owner, updated=now)


def rename(connection: Connection, experiment_id: str, name: str, now: int) -> None:
    """Give a name that must not be taken."""
    _update(connection, experiment_id, name=name, updated=now)


def upsert_tags(connection: Connection, experiment_id: str, tags: Mapping[str, str]) -> None:
    if tags:
        rows = [{"experiment_id": experiment_id, "key": key, "value": value} for key, value in sorted(tags.items())]
        connection.execute(_SET_TAG.on(connection), rows)


def delete_tag(connection: Connection, experiment_id: str, key: str) -> bool:
    """Remove a tag; False when there is none."""
    statement = sa.delete(schema.experiment_tag).where(_tag.experiment_id == experiment_id, _tag.key == key)
    return connection.execute(statement).rowcount > 0


def touch(connection: Connection, experiment_id: str, now: int) -> None:
    """Note that the experiment was changed."""
    _update(connection, experiment_id, updated=now)


def delete(connection: Connection, experiment_id: str, now: int) -> None:
    """Mark an active experiment deleted, and its active runs as deleted with it."""
    _update(connection, experiment_id, lifecycle=Lifecycle.DELETED.value, updated=now)
    connection.execute(
        sa.update(schema.run)
        .where(_run.experiment_id == experiment_id, _run.lifecycle == Lifecycle.ACTIVE.value)
        .values(lifecycle=Lifecycle.DELETED.value, deleted_with=experiment_id, deleted_at=now)
    )


def restore(connection: Connection, experiment_id: str, now: int) -> None:
    """Undo :func:`delete`: what was deleted before it stays deleted."""
    _update(connection, experiment_id, lifecycle=Lifecycle.ACTIVE.value, updated=now)
    connection.execute(
        sa.update(schema.run)
        .where(_run.experiment_id == experiment_id, _run.deleted_with == experiment_id)
        .values(lifecycle=Lifecycle.ACTIVE.value, deleted_with=None, deleted_at=None)
    )


def tell_of_runs(connection: Connection, ids: Collection[str], now: int) -> None:
    """Tell of each of the experiments, in one event, that any of its runs may have changed: however many they are."""
    if not ids:
        return
    rows = connection.execute(_BY_IDS, {"ids": sorted(ids)})
    told = [Event("experiment.changed", row.owner, row.id, now, {"runs": True}, experiment_id=row.id) for row in rows]
    add_events(connection, *told)


def _update(connection: Connection, experiment_id: str, **values: object) -> None:
    connection.execute(sa.update(schema.experiment).where(_experiment.id == experiment_id).values(**values))


def _record(row: Row[str, str, str, str, int, int], tags: Sequence[Tag], runs: int, last: int | None) -> Experiment:
    return Experiment(
        experiment_id=row[0],
        name=row[1],
        owner=row[2],
        lifecycle=Lifecycle(row[3]),
        created=row[4],
        updated=row[5],
        tags=tuple(tags),
        runs=runs,
        last_run=last,
    )
