"""Who loads which versions, and the cards of versions: rows and records."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.model_card import Consumer
from jupyter_mlops.store import schema, schema_telling
from jupyter_mlops.store.upsert import insert_of

_consumer = schema_telling.model_consumer.c
_card = schema_telling.model_card.c
_version = schema.model_version.c
_KEY = ["version_id", "consumer", "reference", "purpose"]

MOST_PURPOSES = 20
"""What a consumer is remembered to load a version for by one reference, the last: each says what they like, and some
say something else each time, such as the number of their build."""
MOST_REFERENCES = 50
"""By which a consumer is remembered to load a version, the last."""


def note_load(connection: Connection, version_id: str, consumer: str, reference: str, purpose: str, now: int) -> None:
    """Count a load, a first one or one more; a first one may take the place of what was last said longest ago."""
    insert = insert_of(connection)(schema_telling.model_consumer)
    counted = insert.on_conflict_do_update(index_elements=_KEY, set_={"last": now, "loads": _consumer.loads + 1})
    row = {"version_id": version_id, "consumer": consumer, "reference": reference, "purpose": purpose}
    noted = connection.execute(counted.returning(_consumer.loads), row | {"first": now, "last": now, "loads": 1})
    if noted.scalar_one() == 1:
        theirs = sa.and_(_consumer.version_id == version_id, _consumer.consumer == consumer)
        _keep_last(
            connection, _consumer.purpose, purpose, sa.and_(theirs, _consumer.reference == reference), MOST_PURPOSES
        )
        _keep_last(connection, _consumer.reference, reference, theirs, MOST_REFERENCES)


def _keep_last(
    connection: Connection, column: sa.Column[str], present: str, theirs: sa.ColumnElement[bool], most: int
) -> None:
    """Of the rows that are ``theirs``, remove those with other values in the column than ``present`` and the last."""
    others = sa.and_(theirs, column != present)
    last = sa.select(column).where(others).group_by(column).order_by(sa.func.max(_consumer.last).desc(), column)
    kept = last.limit(most - 1)
    connection.execute(schema_telling.model_consumer.delete().where(others, column.not_in(kept)))


def rename(connection: Connection, consumer: str, to: str) -> None:
    """Count what one has loaded as another's, together with what that one has loaded."""
    table = schema_telling.model_consumer
    moved = sa.select(*(sa.literal(to) if column is _consumer.consumer else column for column in table.c))
    insert = insert_of(connection)(table).from_select(list(table.c.keys()), moved.where(_consumer.consumer == consumer))
    new = insert.excluded
    both = {
        "first": sa.case((new.first < _consumer.first, new.first), else_=_consumer.first),
        "last": sa.case((new.last > _consumer.last, new.last), else_=_consumer.last),
        "loads": _consumer.loads + new.loads,
    }
    connection.execute(insert.on_conflict_do_update(index_elements=_KEY, set_=both))
    connection.execute(table.delete().where(_consumer.consumer == consumer))


def of_model(connection: Connection, model_id: str, consumer: str | None = None) -> tuple[Consumer, ...]:
    """Who loaded versions of the model, the last first; of one ``consumer`` when given."""
    query = (
        sa.select(
            _version.version,
            _consumer.consumer,
            _consumer.reference,
            _consumer.purpose,
            _consumer.first,
            _consumer.last,
            _consumer.loads,
        )
        .join(schema.model_version, _version.id == _consumer.version_id)
        .where(_version.model_id == model_id)
        .order_by(_consumer.last.desc(), _version.version.desc(), _consumer.consumer, _consumer.purpose)
    )
    if consumer is not None:
        query = query.where(_consumer.consumer == consumer)
    return tuple(
        Consumer(version=row[0], user=row[1], reference=row[2], purpose=row[3], first=row[4], last=row[5], loads=row[6])
        for row in connection.execute(query)
    )


def of_alias(connection: Connection, model_id: str, alias: str, most: int) -> list[str]:
    """The names of those who load the model by an alias, in order, ``most`` at most."""
    query = (
        sa.select(_consumer.consumer)
        .join(schema.model_version, _version.id == _consumer.version_id)
        .where(_version.model_id == model_id, _consumer.reference == f"@{alias}")
        .distinct()
        .order_by(_consumer.consumer)
        .limit(most)
    )
    return list(connection.execute(query).scalars())


def card(connection: Connection, version_id: str) -> tuple[str, str, int] | None:
    """The text that was written for a version, by whom and when."""
    query = sa.select(_card.text, _card.edited_by, _card.edited).where(_card.version_id == version_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def set_card(connection: Connection, version_id: str, text: str, user: str, now: int) -> None:
    """Keep the text of a version's card; an empty one takes it away."""
    if not text:
        connection.execute(schema_telling.model_card.delete().where(_card.version_id == version_id))
        return
    insert = insert_of(connection)(schema_telling.model_card)
    row = {"version_id": version_id, "text": text, "edited_by": user, "edited": now}
    changed = {key: value for key, value in row.items() if key != "version_id"}
    connection.execute(insert.on_conflict_do_update(index_elements=["version_id"], set_=changed), row)
