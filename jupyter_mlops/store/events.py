"""What happened: ``event`` is an outbox for live views and webhooks, ``audit`` the permanent record of who did what.

Both are written in the transaction of what they tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.records import AuditEntry, Json
from jupyter_mlops.store import schema, writes

KEPT_MS = 24 * 60 * 60 * 1000
"""How long an event stays; whoever has not read it by then starts from the present state."""
_TRIMMED_AT_ONCE = 50_000
"""Events that are looked at in one transaction, for which others wait to log: some five for each that has come since
the last time. Retention leaves very many at once."""
PERSONAL = frozenset({"promotion.mentioned", "consumed.moved"})
"""The kinds of events that are for one person, whom their detail names as ``for``."""

_EVENT = sa.insert(schema.event)
_AUDIT = sa.insert(schema.audit)


class Event(msgspec.Struct, frozen=True):
    """That ``target`` (an id or a name), a thing of ``owner``, changed. ``kind`` reads like ``run.created``.

    ``experiment_id`` is the experiment that it is or is in; ``restricted`` is that of the registered model that it is
    or belongs to.
    """

    kind: str
    owner: str
    target: str
    at: int
    detail: Json = None
    experiment_id: str | None = None
    restricted: bool = False

    @property
    def addressee(self) -> str | None:
        """The only person whom it is for; None when it is for all who see its thing."""
        person = self.detail.get("for") if self.kind in PERSONAL and isinstance(self.detail, dict) else None
        return person if isinstance(person, str) else None


def add_events(connection: Connection, *events: Event) -> None:
    """Add events."""
    writes.insert(connection, additions(events))


def additions(events: Sequence[Event]) -> writes.Part:
    """What adds events."""
    rows = [
        {
            "kind": event.kind,
            "owner": event.owner,
            "target": event.target,
            "at": event.at,
            "detail_json": _encoded(event.detail),
            "experiment_id": event.experiment_id,
            "restricted": event.restricted,
        }
        for event in events
    ]
    return _EVENT, rows


def trim_events(connection: Connection, now: int) -> None:
    """Remove events older than :data:`KEPT_MS`: the oldest of them, for the rest of which another time comes."""
    id, at = schema.event.c.id, schema.event.c.at
    oldest = connection.execute(sa.select(sa.func.min(id))).scalar()
    if oldest is None:
        return
    # By number, which is the key: the first event that is young enough ends what is old.
    some = id < oldest + _TRIMMED_AT_ONCE
    first = connection.execute(sa.select(sa.func.min(id)).where(some, at >= now - KEPT_MS)).scalar()
    connection.execute(sa.delete(schema.event).where(some if first is None else id < first))


def add_audit(connection: Connection, actor: str, action: str, target: str, at: int, detail: Json = None) -> None:
    """Record that ``actor`` did ``action`` (such as ``run.delete``) to ``target``."""
    connection.execute(
        _AUDIT, {"actor": actor, "action": action, "target": target, "at": at, "detail_json": _encoded(detail)}
    )


def add_audits(connection: Connection, actor: str, action: str, at: int, details: Mapping[str, Json]) -> None:
    """As :func:`add_audit`, of many targets, each with its detail."""
    rows = [
        {"actor": actor, "action": action, "target": target, "at": at, "detail_json": _encoded(detail)}
        for target, detail in details.items()
    ]
    writes.insert(connection, (_AUDIT, rows))


def list_audit(
    connection: Connection, *, limit: int, before: int | None = None, actor: str | None = None
) -> tuple[AuditEntry, ...]:
    """Entries with a number below ``before``, newest first; those of one ``actor`` when given."""
    audit = schema.audit.c
    query = sa.select(audit.number, audit.at, audit.actor, audit.action, audit.target, audit.detail_json)
    if before is not None:
        query = query.where(audit.number < before)
    if actor is not None:
        query = query.where(audit.actor == actor)
    rows = connection.execute(query.order_by(audit.number.desc()).limit(limit))
    return tuple(
        AuditEntry(
            number=row[0],
            at=row[1],
            user=row[2],
            action=row[3],
            target=row[4],
            detail=None if row[5] is None else msgspec.json.decode(row[5]),
        )
        for row in rows
    )


def audit_of(connection: Connection, action: str, target: str) -> list[Json]:
    """The details of the entries that ``action`` was done to ``target``, newest first."""
    audit = schema.audit.c
    query = sa.select(audit.detail_json).where(audit.action == action, audit.target == target)
    return [
        None if text is None else msgspec.json.decode(text)
        for text in connection.execute(query.order_by(audit.number.desc())).scalars()
    ]


def _encoded(detail: Json) -> str | None:
    return None if detail is None else msgspec.json.encode(detail).decode()
