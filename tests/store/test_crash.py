"""What was acknowledged is kept, once and whole, however the process that wrote it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.connect import connect

# Logs batches of ten points, a param and a tag, from two threads, and prints each number once it is acknowledged.
LOGGER = """
import sys, threading
from jupyter_mlops.core.records import Batch, Metric, Param, StreamPosition, Tag
from jupyter_mlops.tracker.connect import connect

url, run_id, name, count = sys.argv[1:]
tracker = connect(url)
lock = threading.Lock()

def log(thread):
    stream = f"{name}-{thread}"
    number = 0
    while number < int(count):
        number += 1
        batch = Batch(
            metrics=tuple(Metric(stream, i / 10, number, number * 10 + i) for i in range(10)),
            params=(Param(f"{stream}-{number}", number, str(number)),),
            tags=(Tag(stream, str(number)),),
        )
        tracker.runs.log(run_id, batch, StreamPosition(stream, number))
        with lock:
            print(stream, number, flush=True)

threads = [threading.Thread(target=log, args=(thread,)) for thread in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
tracker.close()
"""


def start_logger(url: str, run_id: str, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOGGER, url, run_id, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 40, 150])
def test_a_killed_process_keeps_what_was_acknowledged(database_url: str, tmp_path: Path, lines: int) -> None:
    with connect(database_url, artifacts=tmp_path) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("e").experiment_id))
        process = start_logger(database_url, run.run_id, "s", 1_000_000)
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.readlines()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        read = tracker.runs.get(run.run_id)
        params = {param.key for param in read.params}
        for stream in ("s-0", "s-1"):
            printed = [int(line.split()[1]) for line in seen if line.startswith(stream) and line.endswith("\n")]
            stored = tracker.runs.watermark(stream)
            assert stored >= max(printed, default=0)
            points = tracker.runs.history(run.run_id, stream).items
            assert [point.step for point in points] == list(range(10, 10 * stored + 10))
            metrics = {metric.key: metric.count for metric in read.metrics}
            assert metrics.get(stream, 0) == 10 * stored
            assert {key for key in params if key.startswith(stream)} == {f"{stream}-{n}" for n in range(1, stored + 1)}
            assert [tag.value for tag in read.tags if tag.key == stream] == ([str(stored)] if stored else [])


@pytest.mark.slow
def test_many_processes_log_at_once(database_url: str, tmp_path: Path) -> None:
    processes, calls = 4, 30
    with connect(database_url, artifacts=tmp_path) as tracker:
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.create("e").experiment_id))
        loggers = [start_logger(database_url, run.run_id, f"p{number}", calls) for number in range(processes)]
        for logger in loggers:
            output, errors = logger.communicate(timeout=120)
            assert logger.returncode == 0, errors
            assert len(output.splitlines()) == 2 * calls
            assert not errors
        metrics = {metric.key: metric.count for metric in tracker.runs.get(run.run_id).metrics}
        assert metrics == {f"p{number}-{thread}": 10 * calls for number in range(processes) for thread in range(2)}
