"""Insertions of many rows, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.store import schema, writes
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.upsert import Upsert

_setting = schema.setting.c
_INSERT = sa.insert(schema.setting)


def _replacing(insert: object) -> object:
    statement = insert(schema.setting)  # type: ignore[operator]
    return statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})


_REPLACE = Upsert(_replacing)


def rows(start: int, stop: int, value: str = "v") -> list[dict[str, str]]:
    return [{"value": f"{value} 100% :x $1 %(key)s {number}", "key": f"{number:04}"} for number in range(start, stop)]


def present(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        found = connection.execute(sa.select(_setting.key, _setting.value).order_by(_setting.key))
        return [(key, value) for key, value in found if key.isdigit()]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
def test_every_row_of_every_part_arrives(database: Database, count: int) -> None:
    first, second = rows(0, count), rows(1000, 1000 + 2 * count)
    with database.write() as connection:
        writes.insert(connection, (_INSERT, first), (_INSERT, []), (_INSERT, second))
    assert present(database) == [(row["key"], row["value"]) for row in first + second]


def test_a_rule_for_conflicts_counts_for_each_row(database: Database) -> None:
    with database.write() as connection:
        writes.insert(connection, (_INSERT, rows(0, 50, "old")))
        writes.insert(connection, (_REPLACE.on(connection), rows(40, 60, "new")))  # type: ignore[arg-type]
    assert [value.split()[0] for _, value in present(database)] == ["old"] * 40 + ["new"] * 20


def test_what_cannot_be_inserted_leaves_nothing(database: Database) -> None:
    with pytest.raises(Conflict), database.write() as connection:
        writes.insert(connection, (_INSERT, rows(0, 10)), (_INSERT, rows(9, 12)))
    assert present(database) == []
