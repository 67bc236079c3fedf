from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from jupyter_mlops.core.filters import Entity, parse_filter
from jupyter_mlops.core.records import View
from jupyter_mlops.store import bulk, schema, search
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.rows import _compiled, fetch
from jupyter_mlops.store.search import Query
from jupyter_mlops.store.shares import Reach, within


def test_searches_walk_the_index(database: Database) -> None:
    """The best runs by a metric are read in the order of the summaries' index, on each page."""
    listing = search._listing(
        Entity.RUN,
        "params.kind = 'rf'",
        ("metrics.auc DESC",),
        View.ACTIVE,
        frozenset({"experiment"}),
        database.is_sqlite,
    )
    for after in (None, (0, 0, 0)):
        sql, names, constants = _compiled(listing.statement(0, after), database.engine.dialect)
        values = {**constants, "experiment": "e", "page": 100, "place0": 0.5, "place1": 1, "place2": "x"}
        explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        with database.read() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            parameters = tuple(values[name] for name in names) if names is not None else values
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + sql, parameters))
        assert "ix_metric_experiment_id_key_value_run_id" in plan
        if database.is_sqlite:
            assert "SCAN" not in plan
            assert "TEMP B-TREE FOR ORDER BY" not in plan


def test_what_is_shared_is_found_by_indexes(database: Database) -> None:
    """Neither all experiments nor all shares are looked through for what a principal may see."""
    reach = Reach(("ada", "group:red"), ("everyone", "user:ada"))
    queries = [
        within(sa.select(schema.experiment.c.id), schema.experiment.c.id, reach),
        within(sa.select(schema.run.c.id).where(schema.run.c.name == "x"), schema.run.c.experiment_id, reach),
    ]
    for query in queries:
        with database.read() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            sql, names, constants = _compiled(query, database.engine.dialect)
            lists = {name: list(value) if isinstance(value, tuple) else value for name, value in constants.items()}
            parameters = tuple(_json(lists[name]) for name in names) if names is not None else lists
            explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + sql, parameters))
        assert "ix_experiment_share_grantee_experiment_id" in plan
        assert "SCAN experiment" not in plan
        assert "Seq Scan" not in plan


def test_sqlite_knows_what_few_runs_have(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that few runs have is looked up; of one that many have, the first are found in their order."""
    with closing(Database(sqlite_url)) as database:
        with database.write() as connection:
            experiment = ("e", "x", "ada", "active", 1, 1)
            bulk.insert(connection, schema.experiment, list(schema.experiment.c.keys()), [experiment])
            names = ("id", "experiment_id", "name", "kind", "created_by", "status", "created", "start_time")
            rows = [
                (f"{number:032x}", "e", "rare" if number < 3 else "often", "session", "ada", "FINISHED", 1, number)
                for number in range(search._FEW + 4)
            ]
            bulk.insert(connection, schema.run, (*names, "lifecycle", "source"), [(*row, "active", "") for row in rows])
        plans: list[str] = []

        def explained(connection: sa.Connection, statements: Any, bound: Any, **options: Any) -> Any:
            sql, names, constants = _compiled(statements[0], connection.dialect)
            values = {**constants, **{name: _json(value) for name, value in bound.items()}}
            driver: Any = connection.connection.driver_connection
            rows = driver.execute("EXPLAIN QUERY PLAN " + sql, [values[name] for name in names or ()])
            plans.append("\n".join(str(row[-1]) for row in rows))
            return fetch(connection, statements, bound, **options)

        monkeypatch.setattr(search, "fetch", explained)
        with database.read() as connection:
            for experiments in ([], ["e"]):
                for name, count, index in (("rare", 3, "ix_run_name"), ("often", 100, "start_time_id")):
                    found = Query(parse_filter(f"attributes.run_name = '{name}'", Entity.RUN), (), View.ACTIVE, 100)
                    assert len(search.run_ids(connection, found, experiments, None).items) == count
                    assert index in plans[-1]
                    assert ("TEMP B-TREE" in plans[-1]) is (name == "rare")


def _json(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value
