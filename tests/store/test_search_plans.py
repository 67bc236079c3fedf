from __future__ import annotations

from jupyter_mlops.core.filters import Entity
from jupyter_mlops.core.records import View
from jupyter_mlops.store import search
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.rows import _compiled


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
