from __future__ import annotations

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_mlops.store import schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import Tables, by_run, fetch

_setting = schema.setting.c
_AMONG = sa.select(_setting.key, _setting.value).where(among(_setting.key, "keys")).order_by(_setting.key)
_ALL = sa.select(_setting.key).order_by(_setting.key)
_TEXTS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    # What arrays and JSON are written with.
    st.text("""{}[]\\,"'""", max_size=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(values=st.dictionaries(_TEXTS.filter(bool), _TEXTS, max_size=5), more=st.lists(_TEXTS))
def test_texts_come_back_as_they_were_by_rows_and_by_columns(
    database: Database, values: dict[str, str], more: list[str]
) -> None:
    with database.write() as connection:
        connection.execute(sa.delete(schema.setting))
        if values:
            connection.execute(
                sa.insert(schema.setting), [{"key": key, "value": value} for key, value in values.items()]
            )
    tables = Tables(_AMONG, sorted_here=[_ALL.where(sa.false())])
    with database.read() as connection:
        rows, [texts] = fetch(connection, [_AMONG, tables.statement(connection)], {"keys": [*values, *more]})
        [none] = fetch(connection, [_AMONG], {"keys": ()}, plan_anew=True)
    assert none == []
    assert dict(rows) == values
    found, nothing = tables.columns(texts)
    assert list(zip(*found, strict=True)) == rows
    assert nothing == [[]]


def test_records_are_given_by_run() -> None:
    columns = [["a", "a", "c"], [1, 2, 3], [4, 5, 6]]
    assert by_run(columns, zip) == {"a": ((1, 4), (2, 5)), "c": ((3, 6),)}
    mixed = [["c", "a", "a"], [3, 2, 1], [6, 5, 4]]
    assert by_run(mixed, zip) == by_run(columns, zip)
    assert by_run([[], [], []], zip) == {}
    assert by_run([], zip) == {}
