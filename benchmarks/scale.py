"""A store of many runs and points: how long it takes to start, search, list, dump, and what it takes up.

``python -m benchmarks.scale --runs 1000000 --points 100000000`` makes one by bulk inserts and renews the page's section
with ``--write``. Each run has 5 params and 2 metrics with an equal share of the points, in chunks as the store keeps
them once a run has ended.
"""

from __future__ import annotations

import argparse
import datetime
import random
import statistics
import struct
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import population, report
from benchmarks.measure import machine
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.retention import Retention
from jupyter_mlops.store import backup, chunks, schema
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
EXPERIMENTS = 50
"""Over which the runs are spread; the first has half of them."""
_GROUP = 2_000
_REPEATS = 5
_START = 1_700_000_000_000


class Figure(NamedTuple):
    """One line of the page."""

    what: str
    value: str


def fill(tracker: EmbeddedTracker, runs: int, points: int) -> list[str]:
    """Make the experiments, and in them so many runs with so many points altogether; gives the experiments' ids."""
    experiments = [tracker.experiments.create(f"experiment-{n}").experiment_id for n in range(EXPERIMENTS)]
    made = list(_histories(max(1, points // (2 * runs))))
    for first in range(0, runs, _GROUP):
        rows: dict[str, list[dict[str, object]]] = {"run": [], "param": [], "metric": [], "metric_chunk": []}
        for index in range(first, min(first + _GROUP, runs)):
            _add_run(rows, index, experiments[0 if index % 2 else index // 2 % EXPERIMENTS], made)
        with tracker.database.write() as connection:
            for table, of_table in rows.items():
                connection.execute(schema.metadata.tables[table].insert(), of_table)
    with tracker.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return experiments


class _History(NamedTuple):
    """A metric's points, packed."""

    count: int
    codec: int
    packed: bytes
    values: list[float]


def _histories(points: int) -> Iterator[_History]:
    generator = random.Random(7)
    for _ in range(64):
        value, values = generator.random(), []
        for _ in range(points):
            value = 0.98 * value + 0.02 * generator.random()
            values.append(value)
        steps = array("q", range(points))
        found = chunks.Points(steps, array("q", (_START + 1000 * step for step in steps)), array("d", values))
        yield _History(points, *chunks.pack(found), values)


def _add_run(rows: dict[str, list[dict[str, object]]], index: int, experiment_id: str, made: list[_History]) -> None:
    run_id, start = new_id(), _START + index
    rows["run"].append(
        {
            "id": run_id,
            "experiment_id": experiment_id,
            "name": f"run-{index}",
            "kind": "session",
            "created_by": f"user-{index % 200}",
            "status": "FINISHED",
            "created": start,
            "start_time": start,
            "end_time": start + 1000,
            "lifecycle": "active",
            "source": "train.py",
        }
    )
    for key, value in (("index", index), ("seed", index % 7), ("depth", index % 11), ("kind", index % 4), ("lr", 0.1)):
        rows["param"].append(
            {
                "run_id": run_id,
                "key": key,
                "value_json": str(value),
                "text": str(value),
                "number": value,
                "redacted": False,
            }
        )
    for key, history in (("auc", made[index % len(made)]), ("loss", made[(index * 7) % len(made)])):
        last = history.values[-1] + index * 1e-9
        rows["metric"].append(
            {
                "run_id": run_id,
                "key": key,
                "experiment_id": experiment_id,
                "bits": struct.unpack("<q", struct.pack("<d", last))[0],
                "value": last,
                "step": history.count - 1,
                "timestamp": start,
                "count": history.count,
                "min": min(history.values),
                "max": max(history.values),
            }
        )
        rows["metric_chunk"].append(
            {
                "run_id": run_id,
                "key": key,
                "count": history.count,
                "codec": history.codec,
                "points": history.packed,
            }
        )


def measure(url: str, folder: Path, experiments: list[str]) -> Iterator[Figure]:
    """What the store takes, opened anew."""
    begun = time.perf_counter()
    with connect(url, artifacts=folder / "artifacts") as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        tracker.experiments.search(limit=1)
        yield Figure("start: open, and the first answer", _told(time.perf_counter() - begun))
        large, run_id = experiments[:1], ""

        def found(*asked: Any, **named: Any) -> None:
            nonlocal run_id
            run_id = tracker.runs.search(*asked, limit=100, **named).items[-1].run_id

        asked: dict[str, Callable[[], object]] = {
            "search: the best 100 by a metric, with a param filter": lambda: found(
                large, "params.kind = '3'", ["metrics.auc DESC"]
            ),
            "search: the latest 100 of the largest experiment": lambda: found(large),
            "search: the latest 100 of all": found,
            "search: a name": lambda: tracker.runs.search((), "attributes.run_name = 'run-4711'"),
            "panel: experiments with their counts of runs": lambda: tracker.experiments.search(limit=100),
            "panel: active runs": tracker.runs.active,
            "panel: what waits for me": tracker.promotions.waiting,
            "panel: a run": lambda: tracker.runs.get(run_id),
            "panel: a chart, 500 pixels wide": lambda: tracker.runs.sampled(run_id, "loss", 500),
            "monitoring: the figures of a store": tracker.figures,
        }
        for what, call in asked.items():
            yield Figure(what, _told(_median(call)))
        yield Figure("quotas: everything is counted anew", _told(_once(tracker.quotas.recount)))
        tracker.quotas.set("*", Quota(runs=1))
        yield Figure("quotas: how all stand", _told(_median(lambda: tracker.quotas.standing(everyone=True))))
        tracker.retention.set("*", Retention(days=1, keep_best=10, metric="auc"))
        yield Figure("retention: what would go", _told(_once(tracker.retention.preview)))
        begun = time.perf_counter()
        backup.dump(tracker.database, folder / "dump", 0)
        took = time.perf_counter() - begun
        yield Figure("dump", f"{took:.0f} s, {(folder / 'dump').stat().st_size / 2**20:,.0f} MiB")
        with tracker.database.read() as connection:
            size = (
                Path(str(tracker.database.path)).stat().st_size
                if tracker.database.is_sqlite
                else connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
            )
        yield Figure("the database", f"{size / 2**20:,.0f} MiB")


def _once(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _median(call: Callable[[], object]) -> float:
    return statistics.median(_once(call) for _ in range(_REPEATS))


def _told(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def section(found: dict[str, list[Figure]], runs: int, points: int, date: datetime.date) -> str:
    """The page's part."""
    rows = zip(*found.values(), strict=True)
    return (
        f"Scale\n\nMade by `python -m benchmarks.scale`. {date.isoformat()}, {machine()}. A store of {runs:,} runs "
        f"with {points:,} points in {EXPERIMENTS} experiments, one with half of them; medians of {_REPEATS}.\n\n"
        f"| what | {' | '.join(found)} |\n| --- |{' ---: |' * len(found)}\n"
        + "".join(f"| {row[0].what} | {' | '.join(each.value for each in row)} |\n" for row in rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--on", choices=["SQLite", "PostgreSQL"], action="append", help="both by default")
    parser.add_argument("--write", action="store_true", help=f"renew the section of {PAGE.name}")
    arguments = parser.parse_args()
    found: dict[str, list[Figure]] = {}
    for kind in arguments.on or ["SQLite", "PostgreSQL"]:
        with tempfile.TemporaryDirectory() as text, ExitStack() as running:
            folder = Path(text)
            url = f"sqlite:///{folder / 'mlops.db'}"
            if kind == "PostgreSQL":
                url = running.enter_context(population.postgres()).new_database("scale")
            begun = time.perf_counter()
            with connect(url, artifacts=folder / "artifacts") as tracker:
                assert isinstance(tracker, EmbeddedTracker)
                experiments = fill(tracker, arguments.runs, arguments.points)
            print(f"{kind}: filled in {time.perf_counter() - begun:.0f} s", flush=True)
            found[kind] = []
            for figure in measure(url, folder, experiments):
                print(f"{kind}: {figure.what}: {figure.value}", flush=True)
                found[kind].append(figure)
    if arguments.write:
        made = section(found, arguments.runs, arguments.points, datetime.date.today())
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(report.updated(page, {"scale": made}, []), encoding="utf-8")


if __name__ == "__main__":
    main()
