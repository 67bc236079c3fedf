"""What is changed in the permanent record after it was sealed shows, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.audit import AuditHead, AuditVerdict
from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.store import events, schema, seals
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.schema_telling import audit_seal
from tests.together import together

NOW = 1_700_000_000_000


def add(database: Database, count: int, start: int = 0) -> None:
    with database.write() as connection:
        for number in range(start, start + count):
            events.add_audit(connection, "ann", "run.delete", f"run {number}", NOW + number, {"n": number})


def move(database: Database) -> None:
    row = {"model_id": "m", "model": "churn", "alias": "production", "version": None, "replaced": 1}
    with database.write() as connection:
        connection.execute(schema.alias_move.insert(), row | {"moved_by": "ann", "at": NOW, "reason": ""})


def seal(database: Database) -> AuditHead:
    with database.write() as connection:
        while seals.seal(connection):
            pass
        return seals.head(connection, NOW)


def verify(database: Database, published: Sequence[AuditHead] = ()) -> AuditVerdict:
    with database.read() as connection:
        return seals.verify(connection, published, NOW)


@pytest.fixture
def sealed(database: Database) -> Database:
    add(database, 6)
    move(database)
    seal(database)
    return database


def test_what_nobody_touched_is_intact(sealed: Database) -> None:
    head = seal(sealed)
    assert head.position == 7
    add(sealed, 2, start=6)
    verdict = verify(sealed, [head])
    assert (verdict.intact, verdict.head.position, verdict.unsealed) == (True, 7, 2)
    assert seal(sealed).position == 9
    assert verify(sealed, [head]).unsealed == 0


def changed(connection: Connection) -> None:
    connection.execute(schema.audit.update().where(schema.audit.c.number == 3).values(actor="eve"))


def deleted(connection: Connection) -> None:
    connection.execute(schema.audit.delete().where(schema.audit.c.number == 3))


def moved(connection: Connection) -> None:
    connection.execute(schema.alias_move.update().values(version=2))


def unsealed(connection: Connection) -> None:
    connection.execute(audit_seal.delete().where(audit_seal.c.position == 3))


@pytest.mark.parametrize(
    ("tamper", "where"),
    [
        (changed, "entry 3 of audit (seal 3) was changed"),
        (deleted, "entry 3 of audit (seal 3) is gone"),
        (moved, "entry 1 of alias_move (seal 7) was changed"),
        (unsealed, "the seals 3 to 3 are gone"),
    ],
)
def test_what_was_changed_is_named(sealed: Database, tamper: Callable[[Connection], None], where: str) -> None:
    with sealed.write() as connection:
        tamper(connection)
    verdict = verify(sealed)
    assert not verdict.intact
    assert where in verdict.problems[0]


def test_a_chain_that_was_made_anew_is_not_what_was_published(sealed: Database) -> None:
    head = seal(sealed)
    with sealed.write() as connection:
        changed(connection)
        connection.execute(audit_seal.delete())
    seal(sealed)
    # Whoever can write to the database leaves no trace in it.
    assert verify(sealed).intact
    [problem] = verify(sealed, [head]).problems
    assert problem.startswith("seal 7 is another than was published")


def test_an_end_that_was_cut_off_is_missed(sealed: Database) -> None:
    head = seal(sealed)
    with sealed.write() as connection:
        connection.execute(audit_seal.delete().where(audit_seal.c.position > 4))
        connection.execute(schema.audit.delete().where(schema.audit.c.number > 4))
        connection.execute(schema.alias_move.delete())
    assert verify(sealed).intact
    assert verify(sealed, [head]).problems == ("the record ends at seal 4; 7 was published",)


def test_an_entry_that_becomes_visible_late_is_sealed_too(sealed: Database) -> None:
    row = {"at": NOW, "actor": "ann", "action": "late", "target": "x"}
    with sealed.write() as connection:
        connection.execute(schema.audit.insert(), row | {"number": 20})
    head = seal(sealed)
    with sealed.write() as connection:
        connection.execute(schema.audit.insert(), row | {"number": 15})
    assert verify(sealed, [head]).unsealed == 1
    assert seal(sealed).position == 9
    assert verify(sealed, [head]).intact


def test_many_entries_are_sealed_piece_by_piece(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_MOST", 10)
    monkeypatch.setattr(seals, "_PAGE", 7)
    add(database, 25)
    move(database)
    assert seal(database).position == 26
    assert verify(database).intact


def test_of_two_that_seal_at_once_the_chain_stays_one(database: Database) -> None:
    for start in range(0, 40, 10):
        add(database, 10, start)
        outcomes = together(lambda: seal(database), lambda: seal(database))
        assert all(isinstance(each, AuditHead | Conflict) for each in outcomes)
    seal(database)
    assert verify(database).intact
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(audit_seal)).scalar() == 40
