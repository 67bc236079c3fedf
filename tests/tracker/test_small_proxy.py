"""A proxy in front of the service takes less at once than the service does, and says so by a page of its own."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from jupyter_mlops.core.records import Batch, Metric, NewRun, Tag
from jupyter_mlops.tracker.deadletters import dead_letters
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.replay import replay_folder
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import Log
from tests.history import points
from tests.service.inprocess import running

LIMIT = 20_000
ENTRIES = 1000


@contextmanager
def small_proxy(target: str) -> Iterator[tuple[str, list[int]]]:
    """The URL of a proxy that answers bodies over ``LIMIT`` with 413, and the statuses that it answered."""
    answered: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if len(body) > LIMIT:
                self.give(413, "text/html", b"<html>413 Request Entity Too Large</html>")
                return
            connection = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
            connection.request(self.command, self.path, body or None, dict(self.headers))
            answer = connection.getresponse()
            self.give(answer.status, answer.headers.get("Content-Type", "text/plain"), answer.read())
            connection.close()

        do_GET = do_POST

        def give(self, status: int, kind: str, body: bytes) -> None:
            answered.append(status)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", answered
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_spool_is_split_and_only_what_is_too_large_by_itself_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    with (
        running(sqlite_url, tmp_path / "artifacts", tmp_path) as service,
        small_proxy(service.url) as (url, answered),
        RemoteTracker(url, service.token("ann")) as tracker,
    ):
        experiment = tracker.experiments.ensure("e")
        run_id = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id)).run_id
        writer = SpoolWriter(folder)
        for step in range(ENTRIES):
            writer.append(Log(run_id, Batch(metrics=(Metric("loss", float(step), 1, step),))))
            if step == ENTRIES // 2:
                large = tuple(Tag(f"t{number}", "x" * 8000) for number in range(3))
                writer.append(Log(run_id, Batch(tags=large)))
        writer.close()
        done = replay_folder(folder, tracker)
        assert (done.applied, done.refused) == (ENTRIES, 1)
        assert "more at once than a proxy" in done.refusal
        assert points(tracker, run_id, "loss") == [(step, float(step)) for step in range(ENTRIES)]
        assert tracker.runs.get(run_id).tags == ()
        (letters,) = dead_letters(folder).values()
        assert [letter.number for letter in letters] == [ENTRIES // 2 + 2]
        assert len(answered) < 60
        before = len(answered)
        assert replay_folder(folder, tracker).refused == 0
        assert len(answered) == before
