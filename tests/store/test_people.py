"""Whoever is renamed is renamed wherever the schema names somebody, in whatever tables it comes to have."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.store import consumers, schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.issuedtokens import Issued
from jupyter_mlops.tracker.connect import connect

ID, DIGEST = "a" * 32, "d" * 64
"""Of every row: so whatever refers to another row finds it."""
NAMES_NOBODY = frozenset(
    "action alias asked context dataset_digest dataset_name description detail_json digest error events_json "
    "flavors_json hidden_state id key kind lifecycle message_json model model_type name origin outcome path "
    "policy_json profile_json purpose reason reason_json reference result_json role rule_json runner_json "
    "schema_json scope secret settings_json source source_type state status tags_json template text told_json "
    "url value value_json verdict".split()
)
"""Columns of text that say something else. Any other is taken to name somebody."""
KEPT = {
    *("audit.actor", "audit.target", "alias_move.moved_by", "policy.set_by", "policy.owner"),
    *("promotion.requester", "promotion.asked_by", "promotion.authors_json", "promotion.closed_by"),
    *("promotion_review.reviewer", "promotion_review.owners_json", "promotion_comment.created_by"),
    "check_job.claimed_by",
    # Gone after a day.
    *("event.owner", "event.target"),
}
"""What is on permanent record under the name of its time."""


def named_everywhere(connection: sa.Connection) -> set[str]:
    """Put a row into each table that names ann in all columns that may name somebody; gives the columns."""
    places = set()
    for table in schema.metadata.sorted_tables:
        row: dict[str, object] = {}
        for column in table.c:
            if column is table.autoincrement_column and isinstance(column.type, sa.Integer):
                continue
            if isinstance(column.type, sa.String) and column.type.length:
                row[column.name] = {32: ID, 64: DIGEST}[column.type.length]
            elif not isinstance(column.type, sa.String):
                row[column.name] = b"" if isinstance(column.type, sa.LargeBinary) else 1
                if isinstance(column.type, sa.Boolean):
                    row[column.name] = False
            elif column.name in NAMES_NOBODY:
                row[column.name] = None if column.nullable else "[]"
            else:
                row[column.name] = '["ann"]' if column.name.endswith("_json") else "ann"
                places.add(f"{table.name}.{column.name}")
        connection.execute(table.insert(), row | SPECIAL.get(table.name, {}))
    return places


SPECIAL: dict[str, dict[str, object]] = {
    "experiment_share": {"grantee": "user:ann"},
    "setting": {
        "key": f"token:{DIGEST}",
        "value": msgspec.json.encode(Issued(principal=Principal("ann"), expires=1 << 60)).decode(),
    },
}


def naming(connection: sa.Connection) -> set[str]:
    """The columns that name ann."""
    found = set()
    for table in schema.metadata.sorted_tables:
        for row in connection.execute(sa.select(table)).mappings():
            found |= {
                f"{table.name}.{column}"
                for column, value in row.items()
                if value in ("ann", "user:ann") or (isinstance(value, str) and '"ann"' in value)
            }
    return found


def test_nothing_that_is_not_permanent_keeps_the_old_name(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    with database.write() as connection:
        places = named_everywhere(connection)
        assert places | {"setting.value"} == naming(connection)
    assert places >= KEPT
    with connect(database_url, artifacts=tmp_path, principal=Principal("boss", scope=Scope.ADMIN)) as tracker:
        tracker.people.rename("ann", "anna")
    with database.read() as connection:
        # What the renaming itself has put on record names both.
        assert naming(connection) - {"audit.detail_json"} == KEPT


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_what_both_have_loaded_is_added_up(database: Database, known: bool) -> None:
    with database.write() as connection:
        named_everywhere(connection)
        consumers.note_load(connection, ID, "ann", "@live", "", now=5)
        consumers.note_load(connection, ID, "ann", "@live", "", now=9)
        if known:
            consumers.note_load(connection, ID, "anna", "@live", "", now=7)
        consumers.rename(connection, "ann", "anna")
        found = [each for each in consumers.of_model(connection, ID) if each.reference == "@live"]
    assert [(each.user, each.first, each.last, each.loads) for each in found] == [("anna", 5, 9, 3 if known else 2)]
