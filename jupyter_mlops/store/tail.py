"""Following the outbox: each event once, as it becomes visible.

On PostgreSQL a transaction takes an event's number before it commits, so that a smaller number may become visible after
a greater one; a reader that only remembered the greatest would lose it. Numbers that were passed over are looked for
again until they come, or for so long that their transaction must have been undone.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.store import schema
from jupyter_mlops.store.events import Event

MISSING_SECONDS = 60.0
"""How long a number that was passed over is looked for; transactions that tell something take milliseconds."""
_LOOK_BACK = 1000
_MOST = 1000
"""Events in one reading."""

_event = schema.event.c
_COLUMNS = (
    _event.id,
    _event.kind,
    _event.owner,
    _event.target,
    _event.at,
    _event.detail_json,
    _event.experiment_id,
    _event.restricted,
)
_LAST = sa.select(sa.func.max(_event.id))
_RECENT = sa.select(_event.id).where(_event.id > sa.bindparam("start"))
_NEW = sa.select(*_COLUMNS).where(_event.id >= sa.bindparam("next")).order_by(_event.id).limit(_MOST)
_LATE = sa.select(*_COLUMNS).where(_event.id.in_(sa.bindparam("missing", expanding=True))).order_by(_event.id)


class Told(msgspec.Struct, frozen=True):
    """An event with its number in the outbox."""

    number: int
    event: Event


class EventTail:
    """Events from now on. One thread at a time reads."""

    def __init__(self, connection: Connection) -> None:
        self._next = (connection.execute(_LAST).scalar() or 0) + 1
        start = max(self._next - 1 - _LOOK_BACK, 0)
        there = set(connection.execute(_RECENT, {"start": start}).scalars())
        now = time.monotonic()
        self._missing = {number: now for number in range(start + 1, self._next) if number not in there}

    def read(self, connection: Connection) -> list[Told]:
        """The events that became visible since the last time, those that were late first."""
        late = connection.execute(_LATE, {"missing": list(self._missing)}).all() if self._missing else []
        new = connection.execute(_NEW, {"next": self._next}).all()
        now = time.monotonic()
        for row in late:
            del self._missing[row.id]
        for row in new:
            self._missing.update(dict.fromkeys(range(self._next, row.id), now))
            self._next = row.id + 1
        self._missing = {number: since for number, since in self._missing.items() if now - since < MISSING_SECONDS}
        return [Told(row[0], _event_of(row)) for row in (*late, *new)]


def _event_of(row: Any) -> Event:
    return Event(
        kind=row[1],
        owner=row[2],
        target=row[3],
        at=row[4],
        detail=None if row[5] is None else msgspec.json.decode(row[5]),
        experiment_id=row[6],
        restricted=row[7],
    )
