"""A chain of digests over the permanent record, so that changing it later shows.

Sealing an entry gives it the next position and a digest over its content and the digest before. Order is that of
sealing, since on PostgreSQL a smaller number may become visible after a greater one. Who can write to the database can
make up a whole new chain: against that helps a head that was published outside of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.audit import AuditHead, AuditVerdict, SealedEntry
from jupyter_mlops.store import requestseals, schema, schema_promotion
from jupyter_mlops.store.schema_telling import audit_seal

SOURCES: Mapping[str, sa.Table] = {
    table.name: table
    for table in (
        schema.audit,
        schema.alias_move,
        schema_promotion.policy,
        schema_promotion.promotion_review,
        schema_promotion.promotion_comment,
    )
}
"""The tables that are sealed: append-only, each with one number as its key."""
MOST_PROBLEMS = 100
_START = hashlib.sha256(b"jupyter-mlops audit").hexdigest()
_LOOK_BACK = 10_000
"""So many numbers are looked at again; a transaction takes milliseconds from its number to its end."""
_PAGE = 2000
_MOST = 20_000
"""Entries that are sealed in one transaction."""

_seal = audit_seal.c


def head(connection: Connection, at: int) -> AuditHead:
    """How far the chain reaches."""
    query = sa.select(_seal.position, _seal.digest).order_by(_seal.position.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return AuditHead(position=row[0], digest=row[1], at=at) if row else AuditHead(position=0, digest=_START, at=at)


def seal(connection: Connection) -> bool:
    """Seal entries that are not sealed yet; True when more may be left. Of two at once one fails with ``Conflict``."""
    last = head(connection, 0)
    position, digest = last.position, last.digest
    rows: list[dict[str, Any]] = []
    for source, table in SOURCES.items():
        sealed = sa.select(sa.func.coalesce(sa.func.max(_seal.number), 0)).where(_seal.source == source)
        after = int(connection.execute(sealed).scalar_one()) - _LOOK_BACK
        for number, content in _entries(connection, table, _unsealed(source, table, after).limit(_MOST - len(rows))):
            position, digest = position + 1, _link(digest, source, content)
            rows.append({"position": position, "source": source, "number": number, "digest": digest})
    if rows:
        connection.execute(sa.insert(audit_seal), rows)
    return len(rows) >= _MOST


def verify(connection: Connection, published: Sequence[AuditHead], at: int) -> AuditVerdict:
    """Compare the record with its seals, and those with heads that were ``published``."""
    problems: list[str] = []
    expected = {each.position: each.digest for each in published}
    digest, position = _START, 0
    for place, source, number, told, content in _sealed(connection):
        position += 1
        if place != position:
            problems.append(f"the seals {position} to {place - 1} are gone")
            position = place
        if content is None:
            problems.append(f"entry {number} of {source} (seal {place}) is gone")
        elif _link(digest, source, content) != told:
            problems.append(f"entry {number} of {source} (seal {place}) was changed, or a seal before it was")
        if place in expected and expected.pop(place) != told:
            problems.append(f"seal {place} is another than was published: the record was changed up to there")
        digest = told
        if len(problems) >= MOST_PROBLEMS:
            break
    else:
        if expected.get(0) == _START:
            del expected[0]
        problems += [f"the record ends at seal {position}; {place} was published" for place in sorted(expected)]
    problems += requestseals.problems(connection, MOST_PROBLEMS) + _pointing(connection)
    unsealed = sum(_count(connection, _unsealed(source, table, 0)) for source, table in SOURCES.items())
    last = AuditHead(position=position, digest=digest, at=at)
    return AuditVerdict(intact=not problems, head=last, problems=tuple(problems[:MOST_PROBLEMS]), unsealed=unsealed)


def entries(connection: Connection, after: int, limit: int) -> tuple[SealedEntry, ...]:
    """The sealed entries behind the position ``after``, in order."""
    return tuple(
        SealedEntry(
            position=position,
            source=source,
            number=number,
            digest=digest,
            entry=None if content is None else dict(msgspec.json.decode(content)),
        )
        for position, source, number, digest, content in islice(_sealed(connection, after), limit)
    )


def _pointing(connection: Connection) -> list[str]:
    """Aliases that point elsewhere than their last move on record says."""
    alias, move, version = schema.alias.c, schema.alias_move.c, schema.model_version.c
    last = (
        sa.select(move.model_id, move.alias, sa.func.max(move.id).label("id"))
        .group_by(move.model_id, move.alias)
        .subquery()
    )
    moved = sa.join(schema.alias_move, last, move.id == last.c.id)
    moves = sa.select(move.model_id, move.alias, move.model, move.version).select_from(moved)
    found = connection.execute(moves).all()
    told, names = {(row[0], row[1]): row[3] for row in found}, {row[0]: row[2] for row in found}
    query = sa.select(alias.model_id, alias.alias, version.version).join(
        schema.model_version, version.id == alias.version_id
    )
    pointing = {(row[0], row[1]): row[2] for row in connection.execute(query)}
    problems = []
    for key in sorted({*told, *pointing}):
        if pointing.get(key) != told.get(key):
            name, there, last_told = names.get(key[0], key[0]), _target(pointing.get(key)), _target(told.get(key))
            problems.append(f"{name}@{key[1]} points at {there}; its last move on record says {last_told}")
    return problems


def _target(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"


def _unsealed(source: str, table: sa.Table, after: int) -> sa.Select[Any]:
    number = _key(table)
    sealed = sa.exists().where(_seal.source == source, _seal.number == number)
    return sa.select(table).where(number > after, ~sealed).order_by(number)


def _sealed(connection: Connection, after: int = 0) -> Iterator[tuple[int, str, int, str, bytes | None]]:
    """Each seal behind the position ``after`` with the entry that it is of; None for one that is gone."""
    while True:
        query = sa.select(_seal.position, _seal.source, _seal.number, _seal.digest).where(_seal.position > after)
        seals = connection.execute(query.order_by(_seal.position).limit(_PAGE)).all()
        if not seals:
            return
        found: dict[tuple[str, int], bytes] = {}
        for source, table in SOURCES.items():
            numbers = [row.number for row in seals if row.source == source]
            if numbers:
                lowest, highest = min(numbers), max(numbers)
                between = sa.select(table).where(_key(table).between(lowest, highest))
                found |= {(source, number): content for number, content in _entries(connection, table, between)}
        for row in seals:
            yield row.position, row.source, row.number, row.digest, found.get((row.source, row.number))
        after = seals[-1].position


def _entries(connection: Connection, table: sa.Table, query: sa.Select[Any]) -> Iterator[tuple[int, bytes]]:
    name = _key(table).name
    for row in connection.execute(query).mappings():
        yield row[name], msgspec.json.encode([[str(column.name), row[column.name]] for column in table.columns])


def _count(connection: Connection, query: sa.Select[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())


def _key(table: sa.Table) -> sa.Column[Any]:
    return next(iter(table.primary_key.columns))


def _link(digest: str, source: str, content: bytes) -> str:
    return hashlib.sha256(b"\0".join((digest.encode(), source.encode(), content))).hexdigest()
