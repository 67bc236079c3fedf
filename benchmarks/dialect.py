"""The service's MLflow routes against a stock ``mlflow server``, by the same requests, over SQLite and PostgreSQL.

As in :mod:`benchmarks.service`, CPU is that of the servers' processes. Stores are filled before the servers start.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import population
from benchmarks.measure import Comparison, Timing
from benchmarks.service import Connection, Served, in_mlflows_words, peer, started_service, writing
from benchmarks.store import FILTER, ORDER
from jupyter_mlops.tracker.connect import connect

_HISTORY_PAGE = 25_000
"""Points that MLflow's client asks for at a time."""
_SEARCHES = 20

Read = Callable[[Served, str, str], None]
"""Reads from a server, of an experiment with runs, or a run with a history."""


def compare(quick: bool) -> Iterator[Comparison]:
    """All comparisons of this suite; ``quick`` shrinks them to see that they run."""
    with tempfile.TemporaryDirectory() as text, population.postgres() as server:
        for label in ("SQLite", "PostgreSQL"):
            folder = Path(text) / label
            folder.mkdir()
            if label == "SQLite":
                databases = (f"sqlite:///{folder / 'ours.db'}", f"sqlite:///{folder / 'theirs.db'}")
            else:
                databases = (server.new_database("dialect"), server.new_database("mlflow_dialect"))
            yield from _over(label, databases, folder, quick)


def _over(label: str, databases: tuple[str, str], folder: Path, quick: bool) -> Iterator[Comparison]:
    runs, points = (500, 5_000) if quick else (20_000, 100_000)
    with connect(databases[0], artifacts=folder / "files") as tracker:
        filled = population.fill_runs(tracker, runs), population.fill_history(tracker, points)
    store = population.open_peer(databases[1], folder)
    theirs = store.fill_runs(runs), store.fill_history(points)
    store.store.engine.dispose()
    with ExitStack() as running:
        ours = in_mlflows_words(*running.enter_context(started_service(databases[0], folder, "admin")))
        stock = running.enter_context(peer(databases[1], folder))
        yield from writing(ours, stock, quick, f" ({label})")
        both = ((ours, *filled), (stock, *theirs))

        def reading(
            name: str, unit: str, goal: str, read: Callable[[Served, str, str], None], times: int
        ) -> Comparison:
            timings: tuple[list[Timing], list[Timing]] = ([], [])
            for _ in range(1 if quick else 5):
                for (served, experiment_id, run_id), found in zip(both, timings, strict=True):
                    cpu, start = served.cpu_seconds(), time.perf_counter()
                    for _ in range(times):
                        read(served, experiment_id, run_id)
                    wall = (time.perf_counter() - start) / times
                    found.append(Timing(wall, (served.cpu_seconds() - cpu) / times))
            return Comparison(f"{name} ({label})", unit, *timings, goal=goal, peer_name="mlflow server")

        yield reading(
            f"top 100 of {runs:,} runs by a metric with a param filter", "a search", ">= 40x", _search, _SEARCHES
        )
        yield reading(f"history of {points:,} points", "a read", ">= 15x", _history(points), 1)
        yield reading(f"{runs:,} runs by `search_runs` of MLflow's client", "a search", ">= 5x", _client(runs), 1)


def _search(served: Served, experiment_id: str, _: str) -> None:
    connection = served.connect()
    body = {"experiment_ids": [experiment_id], "filter": FILTER, "order_by": ORDER, "max_results": 100}
    found = json.loads(connection.post("/api/2.0/mlflow/runs/search", body))["runs"]
    connection.close()
    if len(found) != 100:
        raise RuntimeError(f"{len(found)} runs found instead of 100")


def _history(points: int) -> Read:
    def read(served: Served, _: str, run_id: str) -> None:
        connection = served.connect()
        token, count = "", 0
        while True:
            query = f"run_id={run_id}&metric_key=loss&max_results={_HISTORY_PAGE}&page_token={token}"
            page = _get(connection, f"/api/2.0/mlflow/metrics/get-history?{query}")
            count += len(page.get("metrics", ()))
            token = page.get("next_page_token", "")
            if not token:
                break
        connection.close()
        if count != points:
            raise RuntimeError(f"{count} points read, {points} logged")

    return read


def _client(runs: int) -> Read:
    def read(served: Served, experiment_id: str, _: str) -> None:
        from mlflow import MlflowClient

        os.environ["MLFLOW_TRACKING_TOKEN"] = served.token
        client = MlflowClient(served.url)
        token, count = None, 0
        while True:
            page = client.search_runs([experiment_id], max_results=1000, page_token=token)
            count += len(page)
            token = page.token
            if not token:
                break
        if count != runs:
            raise RuntimeError(f"{count} runs read, {runs} there")

    return read


def _get(connection: Connection, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(connection.send("GET", path, None))
    return found
