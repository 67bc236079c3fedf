"""The service against a stock ``mlflow server``: both over PostgreSQL, in front of the same clients.

The peer has four worker processes and no authentication; ours is one process that checks tokens. CPU is that of the
servers' processes alone. Clients ask the kernel not to delay acknowledgements (``TCP_QUICKACK``): an answer sent in two
writes would otherwise wait 40 ms for one, which would flatter whoever writes once.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import population
from benchmarks.measure import Comparison, Timing
from jupyter_mlops.core.records import Batch, NewRun
from jupyter_mlops.core.values import series
from jupyter_mlops.service.tokens import Grant, create_token
from jupyter_mlops.tracker.remote import RemoteTracker

CLIENTS = 8

_BARE_SERVER = """
import tornado.httpserver, tornado.ioloop, tornado.netutil, tornado.web

class Bare(tornado.web.RequestHandler):
    def post(self, *ignored):
        self.finish(b"{}")

sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
server = tornado.httpserver.HTTPServer(tornado.web.Application([(".*", Bare)], log_function=lambda handler: None))
server.add_sockets(sockets)
print(f"http://127.0.0.1:{sockets[0].getsockname()[1]} ", flush=True)
tornado.ioloop.IOLoop.current().start()
"""
"""What the web framework and these clients take by themselves: no token, no store, nothing done."""


class Connection:
    """One client's connection, which is kept.

    It does as little as a client can, since it runs on the servers' own processors: what it takes is taken from both.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((str(parts.hostname), parts.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        credential = f"Authorization: token {token}\r\n" if token else ""
        self._head = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n{credential}Content-Length: "
        self._left = b""

    def send(self, method: str, path: str, body: Any) -> bytes:
        """The body of the answer to a JSON request."""
        content = "" if body is None else json.dumps(body)
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{self._head}{len(content)}\r\n\r\n{content}".encode())
        # The kernel forgets it after a while.
        if sys.platform == "linux":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        while (end := self._left.find(b"\r\n\r\n")) < 0:
            self._receive()
        head = self._left[:end]
        status = int(head[9:12])
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        stop = end + 4 + (int(length[1]) if length else 0)
        if length is None and status != 204:
            raise RuntimeError(f"{path} answered in a form that this client does not know: {head!r}")
        while len(self._left) < stop:
            self._receive()
        answer, self._left = self._left[end + 4 : stop], self._left[stop:]
        if status >= 300:
            raise RuntimeError(f"{path} answered {status}: {answer[:500]!r}")
        return answer

    def _receive(self) -> None:
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise RuntimeError("the server closed the connection")
        self._left += piece

    def post(self, path: str, body: Any) -> bytes:
        return self.send("POST", path, body)

    def close(self) -> None:
        self._socket.close()


@dataclass
class Served:
    """A server that runs, and the calls that are measured on it."""

    url: str
    process: psutil.Process
    token: str
    new_run: Callable[[Connection], str]
    log: Callable[[Connection, str, list[dict[str, Any]]], None]
    finish: Callable[[Connection, str], None]

    def connect(self) -> Connection:
        return Connection(self.url, self.token)

    def cpu_seconds(self) -> float:
        """CPU time of the server's processes."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            used = process.cpu_times()
            total += used.user + used.system
        return total


def compare(quick: bool) -> Iterator[Comparison]:
    """All comparisons of this suite; ``quick`` shrinks them to see that they run."""
    with tempfile.TemporaryDirectory() as text, population.postgres() as server, ExitStack() as running:
        folder = Path(text)
        ours = running.enter_context(_ours(server.new_database("service"), folder))
        theirs = running.enter_context(peer(server.new_database("mlflow_server"), folder))
        yield from writing(ours, theirs, quick, bare=running.enter_context(_bare(folder)))
        yield _ingest(ours, quick)


def writing(
    ours: Served, theirs: Served, quick: bool, label: str = "", bare: Served | None = None
) -> Iterator[Comparison]:
    """What writing takes while all clients call as fast as they can; ``bare`` does nothing."""
    pairs, seconds = (1, 0.5) if quick else (5, 3.0)
    for name, call, goal in (
        ("single metrics", _single, ">= 12x"),
        ("batches of 1,000 points", _batch, ">= 30x less server CPU"),
        ("runs in three calls", _three, ">= 10x"),
    ):
        timings: tuple[list[Timing], list[Timing]] = ([], [])
        for _ in range(pairs):
            for served, found in zip((ours, theirs), timings, strict=True):
                found.append(_load(served, call, seconds))
        yield Comparison(
            f"{name} from {CLIENTS} clients{label}",
            "a run" if call is _three else "a call",
            *timings,
            goal=goal,
            peer_name="mlflow server",
            note=_floor(bare, seconds) if bare is not None and call is _single else "",
        )


def _load(served: Served, call: Callable[[Served, Connection, str], None], seconds: float) -> Timing:
    """What one call takes while all clients call as fast as they can."""
    ready = threading.Barrier(CLIENTS + 1)

    def client() -> int:
        connection = served.connect()
        try:
            run_id = served.new_run(connection)
            call(served, connection, run_id)
        except BaseException:
            ready.abort()
            raise
        ready.wait()
        until = time.perf_counter() + seconds
        calls = 0
        while not calls or time.perf_counter() < until:
            call(served, connection, run_id)
            calls += 1
        connection.close()
        return calls

    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(client) for _ in range(CLIENTS)]
        ready.wait()
        cpu, start = served.cpu_seconds(), time.perf_counter()
        calls = sum(future.result() for future in waiting)
        return Timing((time.perf_counter() - start) / calls, (served.cpu_seconds() - cpu) / calls)


def _floor(bare: Served, seconds: float) -> str:
    timings = [_load(bare, _single, seconds) for _ in range(3)]
    wall, cpu = (1e6 * min(getattr(timing, of) for timing in timings) for of in ("wall", "cpu"))
    return f"a tornado handler that does nothing takes {wall:.0f} us (CPU {cpu:.0f} us) a call of the same clients"


def _points(count: int) -> list[dict[str, Any]]:
    now = time.time_ns() // 1_000_000
    return [{"key": f"m{i % 10}", "value": i * 0.5, "timestamp": now, "step": i} for i in range(count)]


def _single(served: Served, connection: Connection, run_id: str) -> None:
    served.log(connection, run_id, _points(1))


def _batch(served: Served, connection: Connection, run_id: str) -> None:
    served.log(connection, run_id, _points(1000))


def _three(served: Served, connection: Connection, _: str) -> None:
    run_id = served.new_run(connection)
    served.log(connection, run_id, _points(1))
    served.finish(connection, run_id)


def _ingest(ours: Served, quick: bool) -> Comparison:
    """Series of 10,000 points by our own client; a timing stands for a point, the peer's goal for one second a
    million."""
    points, calls = 10_000, 5 if quick else 50
    timings = []
    with RemoteTracker(ours.url, ours.token) as tracker:
        experiment = tracker.experiments.ensure("ingest")
        run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
        batch = Batch(series=(series("loss", [i * 0.5 for i in range(points)]),))
        for _ in range(3):
            cpu, start = ours.cpu_seconds(), time.perf_counter()
            for _ in range(calls):
                tracker.runs.log(run.run_id, batch)
            count = calls * points
            timings.append(Timing((time.perf_counter() - start) / count, (ours.cpu_seconds() - cpu) / count))
    goal = [Timing(1e-6, 1e-6)] * len(timings)
    rate = 1 / statistics.median(timing.wall for timing in timings)
    return Comparison(
        "series of 10,000 points by the remote tracker",
        "a point",
        timings,
        goal,
        goal=">= 1x",
        peer_name="a million a second",
        note=f"{rate:,.0f} points a second",
    )


@contextmanager
def started_service(
    database: str, folder: Path, scope: str = "write", name: str = "ours"
) -> Iterator[tuple[str, str, psutil.Process]]:
    """Our service over ``database``: its URL, a token of ``ada``, its process. Of several in one folder each has a
    ``name``, and all know the tokens of all."""
    token = create_token(folder / "tokens.json", Grant(user="ada", scope=scope))
    with _serving(database, folder, token, name) as served:
        yield served


@contextmanager
def _serving(database: str, folder: Path, token: str, name: str = "ours") -> Iterator[tuple[str, str, psutil.Process]]:
    tokens = folder / "tokens.json"
    arguments = ["--db", database, "--artifacts", str(folder / "files"), "--tokens", str(tokens), "--port", "0"]
    said = folder / f"{name}.txt"
    with _started([sys.executable, "-m", "jupyter_mlops", "service", *arguments], said) as process:
        yield _url_in(said, process), token, psutil.Process(process.pid)


@contextmanager
def served_to(
    user: str, database: str, folder: Path, *, groups: Sequence[str] = (), promotes: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Our service over ``database`` with files in ``folder / "files"``, for a member of ``groups`` who may promote in
    some of them: its URL and a token."""
    tokens = folder / "tokens.json"
    grant = Grant(user=user, groups=tuple(groups), group_scopes=dict.fromkeys(promotes, "promote"))
    with _serving(database, folder, create_token(tokens, grant)) as (url, token, _):
        yield url, token


@contextmanager
def _ours(database: str, folder: Path) -> Iterator[Served]:
    with started_service(database, folder) as (url, token, process):
        first = Connection(url, token)
        experiment_id = json.loads(first.post("/api/v1/experiments", {"name": "load"}))["experiment_id"]
        first.close()

        def new_run(connection: Connection) -> str:
            run = connection.post("/api/v1/runs", {"new": {"experiment_id": experiment_id}})
            return str(json.loads(run)["run_id"])

        def log(connection: Connection, run_id: str, points: list[dict[str, Any]]) -> None:
            connection.post(f"/api/v1/runs/{run_id}/log", {"batch": {"metrics": points}})

        def finish(connection: Connection, run_id: str) -> None:
            connection.send("PATCH", f"/api/v1/runs/{run_id}", {"change": {"status": "FINISHED"}})

        yield Served(url, process, token, new_run, log, finish)


@contextmanager
def _bare(folder: Path) -> Iterator[Served]:
    said = folder / "bare.txt"
    with _started([sys.executable, "-c", _BARE_SERVER], said) as process:
        url = _url_in(said, process)

        def log(connection: Connection, run_id: str, points: list[dict[str, Any]]) -> None:
            connection.post(f"/api/v1/runs/{run_id}/log", {"batch": {"metrics": points}})

        yield Served(url, psutil.Process(process.pid), "", lambda _: "run", log, lambda *_: None)


@contextmanager
def peer(database: str, folder: Path) -> Iterator[Served]:
    """A stock ``mlflow server`` over ``database``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    arguments = ["--backend-store-uri", database, "--default-artifact-root", str(folder / "peer")]
    arguments += ["--host", "127.0.0.1", "--port", str(port), "--workers", "4"]
    with _started([sys.executable, "-m", "mlflow", "server", *arguments], folder / "peer.txt") as process:
        _wait_for(port, process)
        yield in_mlflows_words(url, "", psutil.Process(process.pid))


def in_mlflows_words(url: str, token: str, process: psutil.Process) -> Served:
    """A server that is asked through MLflow's REST API."""
    first = Connection(url, token)
    experiment = json.loads(first.post("/api/2.0/mlflow/experiments/create", {"name": "load"}))
    first.close()

    def new_run(connection: Connection) -> str:
        body = {"experiment_id": experiment["experiment_id"], "start_time": time.time_ns() // 1_000_000}
        return str(json.loads(connection.post("/api/2.0/mlflow/runs/create", body))["run"]["info"]["run_id"])

    def log(connection: Connection, run_id: str, points: list[dict[str, Any]]) -> None:
        if len(points) == 1:
            connection.post("/api/2.0/mlflow/runs/log-metric", {"run_id": run_id, **points[0]})
        else:
            connection.post("/api/2.0/mlflow/runs/log-batch", {"run_id": run_id, "metrics": points})

    def finish(connection: Connection, run_id: str) -> None:
        connection.post("/api/2.0/mlflow/runs/update", {"run_id": run_id, "status": "FINISHED"})

    return Served(url, process, token, new_run, log, finish)


@contextmanager
def _started(command: list[str], said: Path) -> Iterator[subprocess.Popen[bytes]]:
    # Into files: nobody reads a pipe, and a server whose pipe is full of its log waits for ever.
    with said.open("wb") as output, said.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, cwd=said.parent, stdout=output, stderr=log)
    try:
        yield process
    finally:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for worker in workers:
            if worker.is_running():
                worker.kill()


def _url_in(said: Path, process: subprocess.Popen[bytes]) -> str:
    """The URL in the line that our service says when it is ready."""
    while process.poll() is None:
        found = re.search(r"http\S+[^/\s](?=/?\s)", said.read_text())
        if found is not None:
            return found[0]
        time.sleep(0.05)
    raise RuntimeError(f"the service ended with {process.returncode}; see {said.with_suffix('.log')}")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("mlflow server does not answer")
