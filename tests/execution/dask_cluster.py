"""A Dask scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_ports

_QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    # What another host takes minutes to notice, a test need not wait for.
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
}


class DaskCluster:
    """``address`` of the scheduler; ``workers`` are the processes of workers, of one thread each."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        (port,) = free_ports(1)
        self.address = f"tcp://127.0.0.1:{port}"
        self._port = port
        self._folder = folder
        self._environment = {**environment, **_QUIET}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")

    def add_worker(self) -> subprocess.Popen[bytes]:
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0",
            "--local-directory", str(self._folder), "--death-timeout", "60",
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def add_workers(self, count: int) -> None:
        for _ in range(count):
            self.add_worker()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{words[0]}-{time.monotonic_ns()}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[DaskCluster]:
    """A scheduler and so many workers, until the block ends. Nothing in their environment tells of a store."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MLOPS_", "JUPYTERHUB_"))}
    cluster = DaskCluster(folder, {**own, "MLOPS_HOME": str(folder / "worker-home")})
    try:
        cluster.add_workers(workers)
        yield cluster
    finally:
        cluster.close()
