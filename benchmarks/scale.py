"""A store of many runs and points: how long it takes to start, search, list, dump, and what it takes up.

``python -m benchmarks.scale --runs 1000000 --points 100000000`` makes one by bulk inserts and renews the page's section
with ``--write``. Each run has 5 params and 2 metrics with an equal share of the points, in chunks as the store keeps
them once a run has ended. They were begun in the last two years, one after the other, in sweeps of 20.
"""

from __future__ import annotations

import argparse
import datetime
import random
import re
import struct
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import population, report
from benchmarks.measure import machine
from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import Collected
from jupyter_mlops.core.retention import Expiry, Retention, all_collected, whole
from jupyter_mlops.store import backup, bulk, chunks, migrate, schema
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.embedded.diagnosis import examine_store

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
EXPERIMENTS = 50
"""Over which the runs are spread; the first has half of them."""
OWNERS = 10
"""Groups, each with as many of the experiments."""
FAMILY = 20
"""Runs one after the other that are a sweep and its children, in one experiment."""
SPREAD_MS = 730 * 24 * 3600 * 1000
"""The time over which the runs are spread, up to now."""
_GROUP = 10_000
_REPEATS = 5
_START = 1_700_000_000_000


class Figure(NamedTuple):
    """One line of the page."""

    what: str
    value: str


def fill(tracker: EmbeddedTracker, runs: int, points: int) -> list[str]:
    """Make the experiments, and in them so many runs with so many points altogether; gives the experiments' ids."""
    owners = [f"group:team-{n}" for n in range(OWNERS)]
    experiments = [
        tracker.experiments.create(f"experiment-{n}", owner=owners[n % OWNERS]).experiment_id
        for n in range(EXPERIMENTS)
    ]
    made = list(_histories(max(1, points // (2 * runs))))
    now = tracker.experiments.get(experiments[0]).created
    for first in range(0, runs, _GROUP):
        rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in _FILLED}
        for family in range(first, min(first + _GROUP, runs), FAMILY):
            of_large = family // FAMILY % 2
            experiment_id = experiments[0 if of_large else family // FAMILY // 2 % EXPERIMENTS]
            parent: str | None = None
            for index in range(family, min(family + FAMILY, runs)):
                start = now - SPREAD_MS + SPREAD_MS * index // runs
                made_id = _add_run(rows, index, start, experiment_id, parent, made)
                parent = made_id if index == family else parent
        with tracker.database.write() as connection:
            for table, of_table in rows.items():
                bulk.insert(connection, schema.metadata.tables[table], _FILLED[table], of_table)
    tracker.quotas.recount()
    if not tracker.database.is_sqlite:
        # What its autovacuum does by itself.
        with tracker.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    return experiments


_FILLED = {
    "run": (
        *("id", "experiment_id", "name", "kind", "created_by", "status"),
        *("created", "start_time", "end_time", "lifecycle", "parent_id", "source"),
    ),
    "param": ("run_id", "key", "value_json", "text", "number", "redacted"),
    "metric": ("run_id", "key", "experiment_id", "bits", "value", "step", "timestamp", "count", "min", "max"),
    "metric_chunk": ("run_id", "key", "count", "codec", "points"),
}
"""The columns that are not left empty, of each table that has a row for each run or more."""


class _History(NamedTuple):
    """A metric's points, packed."""

    points: int
    codec: int
    packed: bytes
    last: float
    least: float
    greatest: float


def _histories(points: int) -> Iterator[_History]:
    generator = random.Random(7)
    for _ in range(64):
        value, values = generator.random(), []
        for _ in range(points):
            value = 0.98 * value + 0.02 * generator.random()
            values.append(value)
        steps = array("q", range(points))
        found = chunks.Points(steps, array("q", (_START + 1000 * step for step in steps)), array("d", values))
        yield _History(points, *chunks.pack(found), values[-1], min(values), max(values))


def _add_run(
    rows: dict[str, list[tuple[object, ...]]],
    index: int,
    start: int,
    experiment_id: str,
    parent: str | None,
    made: list[_History],
) -> str:
    """Add a run's rows, their values in the order of :data:`_FILLED`; gives its id."""
    # As :func:`new_id` makes them, at the time of the run.
    run_id = f"{start & (1 << 48) - 1:012x}7{index & 0xFFF:03x}{new_id()[16:]}"
    status = "FAILED" if index % 50 == 49 else "FINISHED"
    rows["run"].append(
        (
            *(run_id, experiment_id, f"run-{index}", "session", f"user-{index % 200}", status),
            *(start, start, start + 1000, "active", parent, "train.py"),
        )
    )
    params = (("depth", index % 11), ("index", index), ("kind", index // 64 % 4), ("lr", 0.1), ("seed", index % 7))
    rows["param"] += [(run_id, key, str(value), str(value), value, False) for key, value in params]
    for key, history in (("auc", made[index % len(made)]), ("loss", made[(index * 7) % len(made)])):
        last = history.last + index * 1e-9
        bits = struct.unpack("<q", struct.pack("<d", last))[0]
        ends = (history.points, history.least, history.greatest)
        rows["metric"].append((run_id, key, experiment_id, bits, last, history.points - 1, start, *ends))
        rows["metric_chunk"].append((run_id, key, history.points, history.codec, history.packed))
    return run_id


def measure(url: str, other: str, folder: Path, experiments: list[str]) -> Iterator[Figure]:
    """What the store takes, opened anew; ``other`` is an empty database of the same kind."""
    begun = time.perf_counter()
    with connect(url, artifacts=folder / "artifacts") as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        tracker.experiments.search(limit=1)
        yield Figure("start: open, and the first answer", _told(time.perf_counter() - begun))
        yield Figure("the database", _size(tracker.database))
        for what, call in _questions(tracker, experiments).items():
            yield Figure(what, _told(_best(call)))
        yield Figure("doctor", _told(_once(lambda: list(examine_store(url, None)))))
        yield Figure("quotas: everything is counted anew", _told(_once(tracker.quotas.recount)))
        tracker.quotas.set("group:*", Quota(runs=1))
        yield Figure("quotas: how all stand", _told(_best(lambda: tracker.quotas.standing(everyone=True))))
        yield from _copied(tracker.database, other, folder / "dump")
        took = _told(_once(lambda: tracker.experiments.delete(experiments[0])))
        yield Figure("the largest experiment: deleted", took)
        took = _told(_once(lambda: tracker.experiments.restore(experiments[0])))
        yield Figure("the largest experiment: restored", took)
        yield from _cleared(tracker)


def _questions(tracker: EmbeddedTracker, experiments: list[str]) -> dict[str, Callable[[], object]]:
    """What people and programs ask again and again."""
    member = tracker.acting_for(Principal("user-3", frozenset({"team-3"})))
    large, run_id = experiments[:1], tracker.runs.search(experiments[:1], limit=1).items[0].run_id

    def search(*asked: Any, of: EmbeddedTracker = tracker) -> Callable[[], object]:
        return lambda: of.runs.search(*asked, limit=100)

    return {
        "search: the best 100 by a metric, with a param filter": search(
            large, "params.kind = '3'", ["metrics.auc DESC"]
        ),
        "search: the same in all experiments of a group": search(
            (), "params.kind = '3'", ["metrics.auc DESC"], of=member
        ),
        "search: the same in all": search((), "params.kind = '3'", ["metrics.auc DESC"]),
        "search: the latest 100 of the largest experiment": search(large),
        "search: the latest 100 of a group": search(of=member),
        "search: the latest 100 of all": search(),
        "search: a name": search((), "attributes.run_name = 'run-4711'"),
        "search: part of a name": search((), "attributes.run_name ILIKE '%4711%'"),
        "search: what failed": search((), "attributes.status = 'FAILED'"),
        "search: the children of a run": search((), f"attributes.parent_run_id = '{run_id}'"),
        "panel: experiments with their counts of runs": lambda: tracker.experiments.search(limit=100),
        "panel: active runs": tracker.runs.active,
        "panel: what waits for me": tracker.promotions.waiting,
        "panel: a run": lambda: tracker.runs.get(run_id),
        "panel: a chart, 500 pixels wide": lambda: tracker.runs.sampled(run_id, "loss", 500),
        "monitoring: the figures of a store": tracker.figures,
    }


def _copied(database: Database, other: str, file: Path) -> Iterator[Figure]:
    """A dump, what it is loaded into, and how that is upgraded from an older schema."""
    with _peak() as peak:
        took = _once(lambda: backup.dump(database, file, 0))
    yield Figure("dump", f"{_told(took)}, {file.stat().st_size / 2**20:,.0f} MiB, {peak()} of memory")
    target = Database(other)
    try:
        with _peak() as peak:
            took = _once(lambda: backup.load(target, file))
        yield Figure("load", f"{_told(took)}, {peak()} of memory")
        file.unlink()
        with target.write() as connection:
            for statement in _BACK:
                connection.exec_driver_sql(statement)
        yield Figure("upgrade from schema 0006", _told(_once(lambda: migrate.upgrade(target))))
    finally:
        target.close()
        if target.path is not None:
            for made in target.path.parent.glob(f"{target.path.name}*"):
                made.unlink()


_BACK = (
    *("DROP TABLE usage", "DROP TABLE owner_rule", "DROP TABLE access_token", "DROP INDEX ix_model_owner"),
    *(f"ALTER TABLE upload DROP COLUMN {name}" for name in ("experiment_id", "bytes", "declared")),
    *(f"ALTER TABLE {table} DROP COLUMN told_json" for table in ("run_input", "version_input")),
    "UPDATE mlops_schema SET version_num = '0006'",
)
"""What makes a store one of schema 0006."""


def _cleared(tracker: EmbeddedTracker) -> Iterator[Figure]:
    """Retention and collection of half of the runs."""
    retention, answers = tracker.retention, []

    def asked(ask: Callable[..., Expiry]) -> Callable[[str | None], Expiry]:
        def timed(token: str | None) -> Expiry:
            begun = time.perf_counter()
            part = ask(page_token=token)
            answers.append(time.perf_counter() - begun)
            return part

        return timed

    retention.set("group:*", Retention(days=365, keep_best=10, metric="auc"))
    for what, ask in (("what would go", retention.preview), ("applied", retention.apply)):
        answers.clear()
        with _peak() as peak:
            found = whole(asked(ask))
        total = f"{_told(sum(answers))} for {found.runs:,} runs, {peak()} of memory"
        yield Figure(f"retention: {what}", f"{total}; the longest answer {_told(max(answers))}")
    yield Figure("search: the latest 100 of all, half deleted", _told(_best(lambda: tracker.runs.search(limit=100))))
    counted = _told(_best(lambda: tracker.experiments.search(limit=100)))
    yield Figure("panel: experiments with their counts, half of the runs deleted", counted)
    yield Figure("gc: what would go", _told(_once(lambda: tracker.gc(dry_run=True))))
    answers.clear()

    def collect() -> Collected:
        begun = time.perf_counter()
        part = tracker.gc()
        answers.append(time.perf_counter() - begun)
        return part

    with _peak() as peak:
        all_collected(collect)
    yield Figure("gc", f"{_told(sum(answers))}, {peak()} of memory; the longest answer {_told(max(answers))}")


def _size(database: Database) -> str:
    if database.path is not None:
        return f"{database.path.stat().st_size / 2**20:,.0f} MiB"
    with database.read() as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return f"{size / 2**20:,.0f} MiB"


@contextmanager
def _peak() -> Iterator[Callable[[], str]]:
    """Gives what this process took of memory at most since then."""
    Path("/proc/self/clear_refs").write_text("5")

    def told() -> str:
        status = Path("/proc/self/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return f"{int(found[1]) / 1024:,.0f} MiB"

    yield told


def _once(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _best(call: Callable[[], object]) -> float:
    return min(_once(call) for _ in range(_REPEATS))


def _told(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def section(found: dict[str, list[Figure]], runs: int, points: int, date: datetime.date) -> str:
    """The page's part."""
    rows = zip(*found.values(), strict=True)
    return (
        f"Scale\n\nMade by `python -m benchmarks.scale`. {date.isoformat()}, {machine()}. A store of {runs:,} runs "
        f"with {points:,} points in {EXPERIMENTS} experiments, one with half of them; the best of {_REPEATS}.\n\n"
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
            url, other = (f"sqlite:///{folder / name}.db" for name in ("mlops", "other"))
            if kind == "PostgreSQL":
                server = running.enter_context(population.postgres())
                url, other = server.new_database("scale"), server.new_database("other")
            begun = time.perf_counter()
            with connect(url, artifacts=folder / "artifacts") as tracker:
                assert isinstance(tracker, EmbeddedTracker)
                experiments = fill(tracker, arguments.runs, arguments.points)
            print(f"{kind}: filled in {time.perf_counter() - begun:.0f} s", flush=True)
            found[kind] = []
            for figure in measure(url, other, folder, experiments):
                print(f"{kind}: {figure.what}: {figure.value}", flush=True)
                found[kind].append(figure)
    if arguments.write:
        made = section(found, arguments.runs, arguments.points, datetime.date.today())
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(report.updated(page, {"scale": made}, []), encoding="utf-8")


if __name__ == "__main__":
    main()
