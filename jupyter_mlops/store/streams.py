"""How far each client's numbered stream was applied; see :class:`jupyter_mlops.core.records.StreamPosition`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import PermissionDenied
from jupyter_mlops.core.records import StreamPosition
from jupyter_mlops.store import schema
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import Upsert

_stream = schema.stream.c
_ONE = sa.select(_stream.watermark, _stream.created_by).where(_stream.id == sa.bindparam("stream"))
_LOCKED = (
    sa.select(_stream.id, _stream.watermark, _stream.created_by)
    .where(among(_stream.id, "streams"))
    .order_by(_stream.id)
    .with_for_update()
)
# Else how many rows an insertion has added is forgotten with psycopg's cursor.
_APPEAR = Upsert(
    lambda insert: insert(schema.stream).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
)
_ADVANCE = (
    sa.update(schema.stream)
    .where(_stream.id == sa.bindparam("stream"), _stream.watermark < sa.bindparam("number"))
    .values(watermark=sa.bindparam("number"), updated=sa.bindparam("now"))
)


def watermark(connection: Connection, stream: str, user: str | None) -> int:
    """The highest position of ``stream`` that was applied; 0 for an unknown stream, and for one of another user."""
    row = connection.execute(_ONE, {"stream": stream}).first()
    return 0 if row is None or _is_of_another(row[1], user) else row[0]


def locked_watermarks(connection: Connection, uses: Iterable[tuple[str, str | None]], now: int) -> dict[str, int]:
    """The watermarks of streams, which no other transaction advances until this one ends.

    ``uses`` are the streams with who writes through them: a user who has their streams to themselves, or None.

    Raises
    ------
    PermissionDenied
        A stream is of another user, whose writes would be taken for applied if it were advanced.
    """
    users = dict(uses := sorted(set(uses), key=str))
    names = sorted(users)
    if not names:
        return {}
    found = _locked(connection, names)
    missing = [name for name in names if name not in found]
    if missing:
        # A row must exist to be locked: else two replayers of a new stream would both find nothing and both apply.
        rows = [{"id": name, "watermark": 0, "updated": now, "created_by": users[name]} for name in missing]
        if connection.execute(_APPEAR.on(connection), rows).rowcount == len(rows):
            # What this transaction inserted is its own: who inserts the same waits for its end.
            found.update((name, (0, users[name])) for name in missing)
        else:
            found.update(_locked(connection, missing))
    for name, user in uses:
        if _is_of_another(found[name][1], user):
            raise PermissionDenied(f"the stream {name!r} is of another user: a client begins streams of its own")
    return {name: reached for name, (reached, _) in found.items()}


def _locked(connection: Connection, names: list[str]) -> dict[str, tuple[int, str | None]]:
    return {row[0]: (row[1], row[2]) for row in connection.execute(_LOCKED, {"streams": names})}


def _is_of_another(created_by: str | None, user: str | None) -> bool:
    return created_by is not None and user is not None and created_by != user


def advance(connection: Connection, reached: Mapping[str, int], now: int) -> None:
    """Advance each stream to the number it has reached."""
    if reached:
        rows = [{"stream": name, "number": number, "now": now} for name, number in sorted(reached.items())]
        connection.execute(_ADVANCE, rows)


def claim(connection: Connection, position: StreamPosition | None, user: str | None, now: int) -> bool:
    """Advance a stream to ``position`` in this transaction; False when it was applied before, so that there is nothing
    to do. Without a position there always is."""
    if position is None:
        return True
    if locked_watermarks(connection, [(position.stream, user)], now)[position.stream] >= position.number:
        return False
    advance(connection, {position.stream: position.number}, now)
    return True
