"""``kill -9`` of the process that serves: what it acknowledged is there once, and another one answers."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.records import Batch, Metric, NewRun, StreamPosition
from jupyter_mlops.core.values import param
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.history import points
from tests.hub.standalone import Started, started, token
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

WRITERS, KILLS = 8, 5
BACK_SECONDS = 5.0
KEYS = ("first", "second", "third")


def killed(service: Started) -> float:
    """Kill who serves; gives the seconds until a request is answered that was made right after."""
    serving = until(service.serving, "a serving process")
    before = time.monotonic()
    serving.kill()
    # No retry: it waits where the connection waits. Only a connection that the dead one had taken is cut.
    while True:
        try:
            if requests.get(f"{service.url}ready", timeout=DEADLINE).ok:
                return time.monotonic() - before
        except requests.ConnectionError:
            assert time.monotonic() - before < DEADLINE


def test_what_was_acknowledged_is_there_once(database_url: str, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    over = threading.Event()
    acknowledged: list[str] = []

    def write(url: str, run_id: str, writer: int) -> int:
        """Log until it is over, each batch until it is acknowledged; gives the number of batches."""
        number = 0
        with RemoteTracker(url, credential) as tracker:
            while not over.is_set():
                number += 1
                batch = Batch(
                    metrics=tuple(Metric(key, float(number), timestamp=number, step=number) for key in KEYS),
                    params=(param(f"p{number}", number),) if number % 10 == 0 else (),
                )
                while True:
                    try:
                        tracker.runs.log(run_id, batch, StreamPosition(f"{run_id}-{writer}", number))
                        acknowledged.append(run_id)
                        break
                    except Unavailable:
                        pass
        return number

    arguments = ["--db", database_url, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as service, RemoteTracker(service.url, credential) as tracker:
        experiment = tracker.experiments.ensure("killed")
        runs = [tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id for _ in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            written = [pool.submit(write, service.url, run_id, writer) for writer, run_id in enumerate(runs)]
            moments = random.Random(20260131)
            away = []
            for _ in range(KILLS):
                more = len(acknowledged) + moments.randrange(20, 500)
                until(lambda: len(acknowledged) > more, "some more batches")  # noqa: B023 - called here
                away.append(killed(service))
            over.set()
            counts = [each.result(DEADLINE) for each in written]
        assert min(counts) > KILLS
        # Each single one depends on what else this machine does.
        assert statistics.median(away) < BACK_SECONDS, away
        for run_id, count in zip(runs, counts, strict=True):
            run = tracker.runs.get(run_id)
            assert {metric.key: metric.count for metric in run.metrics} == dict.fromkeys(KEYS, count)
            assert len(run.params) == count // 10
            for key in KEYS:
                assert points(tracker, run_id, key) == [(n, float(n)) for n in range(1, count + 1)]
        service.process.terminate()
        assert service.process.wait(DEADLINE) == 0
    assert (tmp_path / "service.log").read_text().count("was killed by SIGKILL") == KILLS


def test_nobody_is_refused_while_another_one_starts(sqlite_url: str, tmp_path: Path) -> None:
    """Whoever calls waits for it."""
    credential = token(tmp_path, "ann")
    with started(tmp_path, "--db", sqlite_url, "--tokens", "tokens.json") as service:
        serving = until(service.serving, "a serving process")
        serving.kill()
        serving.wait(DEADLINE)
        with RemoteTracker(service.url, credential) as tracker:
            assert tracker.experiments.ensure("waited").name == "waited"


def test_who_serves_ends_with_its_supervisor(sqlite_url: str, tmp_path: Path) -> None:
    token(tmp_path, "ann")
    with started(tmp_path, "--db", sqlite_url, "--tokens", "tokens.json") as service:
        serving = until(service.serving, "a serving process")
        # It has imported nothing of what serves.
        supervisor = psutil.Process(service.process.pid)
        assert 1.5 * supervisor.memory_info().rss < serving.memory_info().rss
        service.process.kill()
        service.process.wait()
        serving.wait(DEADLINE)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{service.url}health", timeout=DEADLINE)


def test_a_service_that_dies_before_it_is_ready_is_started_once(tmp_path: Path) -> None:
    """What is wrong with its settings is said, not tried again; see also what tests/hub says of settings."""
    token(tmp_path, "ann")
    (tmp_path / "jupyter_mlops_service_config.py").write_text(
        "import os, signal\nos.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGKILL))"
    )
    with pytest.raises(AssertionError), started(tmp_path, "--tokens", "tokens.json"):
        pass
    assert "another one starts" not in (tmp_path / "service.log").read_text()


def test_who_dies_again_and_again_is_started_with_growing_pauses(sqlite_url: str, tmp_path: Path) -> None:
    """And a signal ends that."""
    token(tmp_path, "ann")
    marker = tmp_path / "fails"
    (tmp_path / "jupyter_mlops_service_config.py").write_text(
        f"import os\nos.register_at_fork(after_in_child=lambda: os.path.exists({str(marker)!r}) and os._exit(3))"
    )
    with started(tmp_path, "--db", sqlite_url, "--tokens", "tokens.json") as service:
        marker.touch()
        os.kill(until(service.serving, "a serving process").pid, signal.SIGKILL)
        log = tmp_path / "service.log"
        until(lambda: "ended with status 3; another one starts in 0.8 s" in log.read_text(), "the fourth attempt")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(DEADLINE) == 0
    assert [f"in {pause} s" in log.read_text() for pause in ("0.1", "0.2", "0.4")] == [True] * 3
