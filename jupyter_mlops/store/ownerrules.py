"""Rules that administrators set for owners, by kind and subject."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.store.rows import fetch
from jupyter_mlops.store.schema_limits import owner_rule
from jupyter_mlops.store.upsert import Upsert

QUOTA = "quota"
RETENTION = "retention"

T = TypeVar("T", bound=msgspec.Struct)

_rule = owner_rule.c
_ALL = sa.select(_rule.subject, _rule.rule_json).where(_rule.kind == sa.bindparam("kind"))


def _upsert(insert: Any) -> Any:
    statement = insert(owner_rule)
    new = {name: statement.excluded[name] for name in ("rule_json", "set_by", "at")}
    return statement.on_conflict_do_update(index_elements=["kind", "subject"], set_=new)


_PUT = Upsert(_upsert)


class Entry(NamedTuple):
    """A rule as it was set."""

    subject: str
    rule: Any
    set_by: str
    at: int


def any_of(kind: str) -> sa.ColumnElement[bool]:
    """Whether there is any rule of a kind, for a statement that is asked anyway."""
    return sa.exists(sa.select(_rule.subject).where(_rule.kind == kind))


def by_subject(connection: Connection, kind: str, rule: type[T]) -> dict[str, T]:
    """All rules of a kind."""
    # Asked by each transaction that adds something.
    [rows] = fetch(connection, [_ALL], {"kind": kind})
    return {subject: msgspec.json.decode(text, type=rule) for subject, text in rows}


def entries(connection: Connection, kind: str, rule: type[msgspec.Struct]) -> list[Entry]:
    """All rules of a kind with who set them when, by subject."""
    query = sa.select(_rule.subject, _rule.rule_json, _rule.set_by, _rule.at).where(_rule.kind == kind)
    rows = connection.execute(query.order_by(_rule.subject))
    return [Entry(row[0], msgspec.json.decode(row[1], type=rule), row[2], row[3]) for row in rows]


def put(connection: Connection, kind: str, subject: str, rule: msgspec.Struct, user: str, now: int) -> None:
    """Set a rule in place of the one there is."""
    text = msgspec.json.encode(rule).decode()
    row = {"kind": kind, "subject": subject, "rule_json": text, "set_by": user, "at": now}
    connection.execute(_PUT.on(connection), row)


def remove(connection: Connection, kind: str, subject: str) -> bool:
    """Take a rule back; False when there is none."""
    return connection.execute(owner_rule.delete().where(_rule.kind == kind, _rule.subject == subject)).rowcount > 0
