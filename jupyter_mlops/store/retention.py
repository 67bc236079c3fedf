"""Runs whose time is over: found experiment by experiment, some at a time, and deleted as by hand.

What is found is deleted in the same transaction, page by page, so that others get their turn to write and what was
promoted meanwhile is seen. A parent stays for as long as one of its descendants does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.records import Json, Lifecycle, RunStatus
from jupyter_mlops.core.retention import KEEP_TAG, Expired, Retention, retention_of
from jupyter_mlops.store import events, ownerrules, schema
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.lineage import held_runs
from jupyter_mlops.store.parameters import among

DAY_MS = 24 * 60 * 60 * 1000
_AT_ONCE = 500
"""Runs in one transaction."""
_ACTIVE = Lifecycle.ACTIVE.value
_UNSUCCESSFUL = (RunStatus.FAILED.value, RunStatus.KILLED.value)

_run = schema.run.c
_tag = schema.tag.c
_metric = schema.metric.c
_experiment = schema.experiment.c

Transaction = Callable[[], AbstractContextManager[Connection]]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """After which run a page begins: its experiment, its start and its id; ``ends`` if it begins with the next
    experiment."""

    experiment_id: str
    start_time: int = 0
    run_id: str = ""
    ends: bool = False


class Page(NamedTuple):
    """What was found in some runs of an experiment."""

    expired: tuple[Expired, ...]
    spared: int
    """How many are past their time, and kept."""
    last: Place
    """Where the next page begins."""


class _Subject(NamedTuple):
    experiment_id: str
    owner: str
    rule: Retention


def rules(connection: Connection) -> dict[str, Retention]:
    """All rules, by subject."""
    return ownerrules.by_subject(connection, ownerrules.RETENTION, Retention)


def expired(begin: Transaction, now: int, owners: Collection[str] | None, after: Place | None = None) -> Iterator[Page]:
    """Of ``owners`` (of all when None), the runs ``after`` a place that the rules no longer keep."""
    return _pages(begin, now, owners, after, lambda *_: None)


def expire(begin: Transaction, now: int, actor: str, after: Place | None = None) -> Iterator[Page]:
    """Delete the runs ``after`` a place that the rules no longer keep; gives what was deleted. Each is on record."""
    return _pages(begin, now, None, after, partial(_delete, now=now, actor=actor))


def _pages(
    begin: Transaction,
    now: int,
    owners: Collection[str] | None,
    after: Place | None,
    do: Callable[[Connection, Sequence[Expired]], None],
) -> Iterator[Page]:
    """Pages of runs past their time; with each, ``do`` is done in the transaction that found them."""
    for subject in _subjects(begin, owners, after):
        place = Place(subject.experiment_id)
        if after is not None and after.experiment_id == subject.experiment_id:
            place = after
        while not place.ends:
            with begin() as connection:
                page = _page(connection, subject, now, place)
                do(connection, page.expired)
            place = page.last
            yield page


def _subjects(begin: Transaction, owners: Collection[str] | None, after: Place | None) -> list[_Subject]:
    """The experiments to which rules apply, in the order of their ids, from that of ``after``."""
    with begin() as connection:
        by_subject = rules(connection)
        if not by_subject:
            return []
        query = sa.select(_experiment.id, _experiment.owner).order_by(_experiment.id)
        if after is not None:
            beyond = _experiment.id > after.experiment_id
            query = query.where(beyond if after.ends else _experiment.id >= after.experiment_id)
        found = connection.execute(query.where(_experiment.lifecycle == _ACTIVE)).all()
    of_owner = {owner: retention_of(owner, by_subject) for _, owner in found}
    return [
        _Subject(experiment_id, owner, rule)
        for experiment_id, owner in found
        if (rule := of_owner[owner]) is not None and (owners is None or owner in owners)
    ]


def _page(connection: Connection, subject: _Subject, now: int, after: Place) -> Page:
    """What is past its time of the runs that come ``after`` one."""
    query = (
        sa.select(_run.id, _run.name, _run.status, _run.end_time, _run.start_time)
        .where(
            _run.experiment_id == subject.experiment_id,
            _run.lifecycle == _ACTIVE,
            sa.tuple_(_run.start_time, _run.id) > sa.tuple_(sa.literal(after.start_time), sa.literal(after.run_id)),
            _past(subject.rule, now),
        )
        .order_by(_run.start_time, _run.id)
        .limit(_AT_ONCE)
    )
    found = connection.execute(query).all()
    if not found:
        return Page((), 0, Place(subject.experiment_id, ends=True))
    kept = _kept(connection, subject, now, [row.id for row in found])
    gone = tuple(
        Expired(
            run_id=row.id,
            name=row.name,
            experiment_id=subject.experiment_id,
            owner=subject.owner,
            end_time=row.end_time,
            why=_why(subject.rule, row.status, now - row.end_time),
        )
        for row in found
        if row.id not in kept
    )
    last = Place(subject.experiment_id, found[-1].start_time, found[-1].id, ends=len(found) < _AT_ONCE)
    return Page(gone, len(found) - len(gone), last)


def _past(rule: Retention, now: int) -> sa.ColumnElement[bool]:
    """Whether a run is past its time."""
    days = {RunStatus.FINISHED.value: rule.days}
    days |= dict.fromkeys(_UNSUCCESSFUL, rule.days if rule.failed_days is None else rule.failed_days)
    return sa.or_(
        sa.false(),
        *(
            sa.and_(
                _run.status == status,
                _run.end_time <= now - count * DAY_MS,
                # What ended before then began before then, too: this is what there is an index for.
                _run.start_time <= now - count * DAY_MS,
            )
            for status, count in days.items()
            if count is not None
        ),
    )


def _why(rule: Retention, status: str, age: int) -> str:
    failed = status in _UNSUCCESSFUL and rule.failed_days is not None
    days = rule.failed_days if failed else rule.days
    word = {RunStatus.FINISHED.value: "finished", RunStatus.FAILED.value: "failed"}.get(status, "was killed")
    return f"it {word} {age // DAY_MS} days ago; {'such runs' if failed else 'runs'} are kept for {days}"


def _kept(connection: Connection, subject: _Subject, now: int, run_ids: Sequence[str]) -> set[str]:
    """Which of the runs stay although they are past their time."""
    family = _family(connection, subject, now, run_ids)
    members = [*run_ids, *(run_id for run_id, _, _ in family)]
    stay = held_runs(connection) | _best(connection, subject) | _tagged(connection, members)
    stay |= {run_id for run_id, _, past in family if not past}
    parents = {run_id: parent_id for run_id, parent_id, _ in family}
    for run_id in stay & set(members):
        above = parents.get(run_id)
        while above is not None and above not in stay:
            stay = stay | {above}
            above = parents.get(above)
    return stay & set(run_ids)


def _family(connection: Connection, subject: _Subject, now: int, run_ids: Sequence[str]) -> list[tuple[str, str, bool]]:
    """The active descendants of runs: each with its parent, and whether this rule ends it, too."""
    ends = sa.and_(_run.experiment_id == subject.experiment_id, _past(subject.rule, now))
    query = sa.select(_run.id, _run.parent_id, sa.case((ends, 1), else_=0), _run.lifecycle)
    found: list[tuple[str, str, bool]] = []
    seen, generation = set(run_ids), list(run_ids)
    # One generation after the other: asked for all at once, PostgreSQL expects so many that it reads the whole table.
    while generation:
        # Deleted ones are left out here: in the condition, SQLite would look through all that are active.
        rows = connection.execute(query.where(among(_run.parent_id, "parents", generation))).all()
        found += [
            (run_id, parent_id, bool(past)) for run_id, parent_id, past, lifecycle in rows if lifecycle == _ACTIVE
        ]
        generation = [run_id for run_id, *_ in rows if run_id not in seen]
        seen.update(generation)
    return found


def _best(connection: Connection, subject: _Subject) -> set[str]:
    rule = subject.rule
    if not rule.keep_best:
        return set()
    value = _metric.value.asc() if rule.minimize else _metric.value.desc()
    query = (
        sa.select(_metric.run_id)
        .join(schema.run, _run.id == _metric.run_id)
        .where(
            _metric.experiment_id == subject.experiment_id,
            _metric.key == rule.metric,
            _metric.value.is_not(None),
            _run.lifecycle == _ACTIVE,
        )
        .order_by(value, _metric.run_id)
        .limit(rule.keep_best)
    )
    return set(connection.execute(query).scalars())


def _tagged(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    query = sa.select(_tag.run_id).where(_tag.key == KEEP_TAG, among(_tag.run_id, "runs", run_ids))
    return set(connection.execute(query).scalars())


def _delete(connection: Connection, gone: Sequence[Expired], now: int, actor: str) -> None:
    if not gone:
        return
    ids = [each.run_id for each in gone]
    # Not deleted, and not active: for that, SQLite would look through all that are active.
    mark = sa.update(schema.run).where(among(_run.id, "runs", ids), _run.lifecycle != Lifecycle.DELETED.value)
    values = {"lifecycle": Lifecycle.DELETED.value, "deleted_with": _run.id, "deleted_at": now}
    connection.execute(mark.values(**values))
    told = [Event("run.changed", each.owner, each.run_id, now, experiment_id=each.experiment_id) for each in gone]
    events.add_events(connection, *told)
    why: dict[str, Json] = {each.run_id: {"owner": each.owner, "why": each.why} for each in gone}
    events.add_audits(connection, actor, "run.expire", now, why)
