"""Two replicas over one PostgreSQL behind one address, many clients, and a replica that is killed in between.

``python -m benchmarks.load --clients 200 --seconds 600`` renews its section of ``docs/benchmarks.md``. Each client is a
run that goes on: each second it logs a batch, and now and then somebody looks at it. What is unavailable is asked for
again, as kernels and commands do; what a client is still refused then is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import itertools
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import population, report
from benchmarks.measure import machine
from benchmarks.service import started_service
from jupyter_mlops.core.errors import MLOpsError, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, Metric, NewRun, StreamPosition
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.remote import RemoteTracker

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
POINTS = 10
"""Of each batch."""
LOOKS = 5
"""After so many batches, somebody looks."""
PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.05


@dataclass
class Loaded:
    """What became of the clients' calls; times in seconds."""

    times: list[float] = field(default_factory=list)
    """Of each call, from when it was made to its answer, with what was asked again."""
    again: int = 0
    """How often something was unavailable, and asked for again."""
    failures: list[str] = field(default_factory=list)
    """What a client was refused."""
    lost: list[str] = field(default_factory=list)
    """Runs whose points are not those that were acknowledged."""
    passed_over: int = 0
    """Connections that the dead replica would have had."""
    memory: int = 0
    """The most that a serving process had, bytes."""
    seconds: float = 0.0

    def percentile(self, of_hundred: int) -> float:
        return statistics.quantiles(self.times, n=100)[of_hundred - 1]


class Balancer:
    """One address for several upstreams, in turn; one that does not accept a connection is passed over."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self.upstreams = list(upstreams)
        self.passed_over = 0
        """How often."""
        self._turn = itertools.count()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Balancer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        await asyncio.start_server(self._connect, sock=self._socket)
        self._ready.set()
        await self._over.wait()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(self._turn)
        for number in range(len(self.upstreams)):
            url = self.upstreams[(first + number) % len(self.upstreams)]
            try:
                there = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            except OSError:
                self.passed_over += 1
                continue
            # At the end of all, asyncio of Python 3.11 would print that this was cancelled.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(_pass(reader, there[1]), _pass(there[0], writer))
            return
        writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    # The end of one direction is the end of the connection, as with an upstream that was killed.
    writer.transport.abort()


class Client:
    """A run that goes on, as its kernel and those who look at it see the service."""

    def __init__(self, tracker: Tracker, experiment_id: str, loaded: Loaded) -> None:
        self._tracker = tracker
        self._experiment_id = experiment_id
        self._loaded = loaded
        self.run_id = new_id()
        self.acknowledged = 0

    def work(self, until: float, each_seconds: float, offset: float) -> None:
        self._asked(lambda: self._tracker.runs.create(NewRun(experiment_id=self._experiment_id, run_id=self.run_id)))
        time.sleep(offset)
        while (begun := time.perf_counter()) < until:
            number = self.acknowledged + 1
            points = [Metric(f"m{key}", float(number), number, number) for key in range(POINTS)]
            batch, position = Batch(metrics=tuple(points)), StreamPosition(self.run_id, number)
            if not self._asked(lambda batch=batch, position=position: self._log(batch, position)):
                return
            self.acknowledged = number
            if number % LOOKS == 0:
                self._asked(lambda: self._tracker.runs.get(self.run_id))
                self._asked(lambda: self._tracker.runs.search([self._experiment_id], "", ["metrics.m0 DESC"], limit=50))
            time.sleep(max(0.0, begun + each_seconds - time.perf_counter()))

    def _log(self, batch: Batch, position: StreamPosition) -> None:
        self._tracker.runs.log(self.run_id, batch, position)

    def _asked(self, call: Callable[[], object]) -> bool:
        """Whether it was answered, in the end."""
        begun = time.perf_counter()
        while True:
            try:
                call()
            except Unavailable as error:
                self._loaded.again += 1
                if time.perf_counter() - begun > PATIENCE_SECONDS:
                    self._loaded.failures.append(str(error))
                    return False
                time.sleep(_PAUSE_SECONDS)
            except MLOpsError as error:
                self._loaded.failures.append(f"{type(error).__name__}: {error}")
                return False
            else:
                self._loaded.times.append(time.perf_counter() - begun)
                return True


def load(database: str, folder: Path, *, clients: int, seconds: float, each_seconds: float = 1.0) -> Loaded:
    """What so many clients meet in so many seconds, in the middle of which a replica is killed and another started."""
    loaded = Loaded()
    with ExitStack() as running:
        replicas = [running.enter_context(started_service(database, folder, name=name)) for name in ("one", "two")]
        token = replicas[0][1]
        balancer = running.enter_context(Balancer([url for url, _, _ in replicas]))
        tracker = running.enter_context(RemoteTracker(balancer.url, token))
        experiment_id = tracker.experiments.ensure("load").experiment_id
        trackers = [running.enter_context(RemoteTracker(balancer.url, token)) for _ in range(clients)]
        working = [Client(each, experiment_id, loaded) for each in trackers]
        watched = running.enter_context(_memory(loaded, [process for _, _, process in replicas]))
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            results = [
                pool.submit(client.work, begun + seconds, each_seconds, each_seconds * number / clients)
                for number, client in enumerate(working)
            ]
            time.sleep(seconds / 2)
            _kill(replicas[0][2])
            another = running.enter_context(started_service(database, folder, name="three"))
            balancer.upstreams[0] = another[0]
            watched.append(another[2])
            for each in results:
                each.result()
        loaded.seconds, loaded.passed_over = time.perf_counter() - begun, balancer.passed_over
        for client in working:
            counts = {metric.count for metric in tracker.runs.get(client.run_id).metrics}
            if counts != {client.acknowledged}:
                loaded.lost.append(f"{client.run_id}: {counts} points, {client.acknowledged} acknowledged")
    return loaded


def _kill(replica: psutil.Process) -> None:
    for process in (replica, *replica.children(recursive=True)):
        process.kill()


@contextmanager
def _memory(loaded: Loaded, replicas: list[psutil.Process]) -> Iterator[list[psutil.Process]]:
    """Watches the replicas' serving processes; more may be added to what it gives."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            for replica in list(replicas):
                with suppress(psutil.NoSuchProcess):
                    used = [process.memory_info().rss for process in replica.children(recursive=True)]
                    loaded.memory = max([loaded.memory, *used])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield replicas
    finally:
        over.set()
        thread.join()


def section(loaded: Loaded, clients: int, date: datetime.date) -> str:
    """The page's part."""
    rate = len(loaded.times) / loaded.seconds
    return (
        f"Load\n\nMade by `python -m benchmarks.load`. {date.isoformat()}, {machine()}. PostgreSQL, two replicas "
        f"behind one address, and {clients} runs that log {POINTS} points a second each for {loaded.seconds:.0f} s, "
        "all on this machine; in the middle one replica is killed (`kill -9`) and another started.\n\n"
        "| answered | a second | p50 | p99 | longest | asked again | refused | points lost | memory of a replica |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        f"| {len(loaded.times):,} | {rate:,.0f} | {1e3 * loaded.percentile(50):.1f} ms "
        f"| {1e3 * loaded.percentile(99):.0f} ms | {max(loaded.times):.2f} s | {loaded.again} | {len(loaded.failures)} "
        f"| {len(loaded.lost)} | {loaded.memory / 2**20:.0f} MiB |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--write", action="store_true", help=f"renew the section of {PAGE.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, population.postgres() as server:
        database = server.new_database("load")
        loaded = load(database, Path(folder), clients=arguments.clients, seconds=arguments.seconds)
    made = section(loaded, arguments.clients, datetime.date.today())
    print(made, *loaded.failures[:5], *loaded.lost[:5], sep="\n")
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(report.updated(page, {"load": made}, []), encoding="utf-8")


if __name__ == "__main__":
    main()
