"""Many clients at once: nobody is answered that the service failed or that the database is locked."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.hub.realhub import authorization
from tests.hub.standalone import started, token
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

SECONDS = 4.0


class Answer(NamedTuple):
    status: int
    seconds: float
    body: bytes


class Client:
    """One kept connection."""

    def __init__(self, url: str, credential: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
        self._headers = {**authorization(credential), "Content-Type": "application/json"}
        self.answers: list[Answer] = []

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        content = None if body is None else json.dumps(body)
        before = time.perf_counter()
        self._connection.request(method, f"/api/v1/{path}", content, self._headers)
        answer = self._connection.getresponse()
        received = answer.read()
        self.answers.append(Answer(answer.status, time.perf_counter() - before, received))
        return received

    def work(self, over: threading.Event, experiment_id: str) -> None:
        """What a run does, and what somebody who looks at it does."""
        run_id = json.loads(self.ask("POST", "runs", {"new": {"experiment_id": experiment_id}}))["run_id"]
        step = 0
        while not over.is_set():
            step += 1
            metrics = [{"key": "loss", "value": 1 / step, "timestamp": step, "step": step}]
            params = [{"key": f"p{step}", "value": step, "text": str(step)}]
            batch = {"metrics": metrics, "params": params}
            self.ask("POST", f"runs/{run_id}/log", {"batch": batch, "position": {"stream": run_id, "number": step}})
            self.ask("GET", f"runs/{run_id}")
            self.ask("GET", f"runs/{run_id}/history?key=loss&limit=100")
        found = json.loads(self.ask("GET", f"runs/{run_id}"))
        assert [metric["count"] for metric in found["metrics"]] == [step]
        self._connection.close()


def crowd(url: str, credential: str, clients: int, seconds: float) -> list[Answer]:
    """What so many clients are answered in so many seconds."""
    first = Client(url, credential)
    experiment_id = json.loads(first.ask("POST", "experiments/ensure", {"name": "crowd"}))["experiment_id"]
    crowd = [Client(url, credential) for _ in range(clients)]
    over = threading.Event()
    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(each.work, over, experiment_id) for each in crowd]
        try:
            over.wait(seconds)
            until(lambda: all(len(each.answers) >= 4 for each in crowd), "some answers for everybody")
        finally:
            over.set()
        for each in working:
            each.result()
    return [answer for each in crowd for answer in each.answers]


@pytest.mark.parametrize(("database_url", "clients"), [("sqlite", 16), ("postgresql", 200)], indirect=["database_url"])
def test_everybody_is_answered(database_url: str, clients: int, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    arguments = ["--db", database_url, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as service:
        answers = crowd(service.url, credential, clients, SECONDS)
        serving = until(service.serving, "a serving process")
        # What is left is the store's.
        until(lambda: serving.num_fds() < 100, "the end of their connections")
    failed = [answer for answer in answers if answer.status >= 400]
    assert not failed, failed[:3]
    assert "locked" not in (tmp_path / "service.log").read_text()
