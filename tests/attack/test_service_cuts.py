"""PostgreSQL ends all connections of the service again and again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from jupyter_mlops.tracker.remote import RemoteTracker
from tests import postgres
from tests.history import points
from tests.hub.realhub import authorization
from tests.hub.standalone import started, token
from tests.waiting import until

pytestmark = pytest.mark.slow

CLIENTS, CUTS = 8, 20
PERIOD_SECONDS = 0.2
RECOVERED_SECONDS = 5.0
KEYS = ("first", "second", "third")


class Client:
    """Writes and reads in turn, everything until it succeeds; counts the answers that were none."""

    def __init__(self, url: str, credential: str, experiment_id: str) -> None:
        self._api = f"{url}api/v1/"
        self._session = requests.Session()
        self._session.headers.update(authorization(credential))
        self.refusals: list[requests.Response] = []
        self.written = 0
        self.run_id = str(self._ask("POST", "runs", {"new": {"experiment_id": experiment_id}}).json()["run_id"])

    def _ask(self, method: str, path: str, body: object = None) -> requests.Response:
        while True:
            answer = self._session.request(method, self._api + path, json=body, timeout=60)
            if answer.ok:
                return answer
            self.refusals.append(answer)

    def step(self) -> None:
        number = self.written + 1
        metrics = [{"key": key, "value": number / 7, "timestamp": number, "step": number} for key in KEYS]
        position = {"stream": self.run_id, "number": number}
        self._ask("POST", f"runs/{self.run_id}/log", {"batch": {"metrics": metrics}, "position": position})
        self.written = number
        found = self._ask("GET", f"runs/{self.run_id}").json()
        assert [metric["count"] for metric in found["metrics"]] == [number] * len(KEYS)


def test_connections_that_are_cut(postgres_server: postgres.Server, postgres_url: str, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    arguments = ["--db", postgres_url, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        experiment = tracker.experiments.ensure("cut")
        clients = [Client(url, credential, experiment.experiment_id) for _ in range(CLIENTS)]
        over = threading.Event()

        def work(client: Client) -> None:
            while not over.is_set():
                client.step()

        with ThreadPoolExecutor(CLIENTS) as pool:
            working = [pool.submit(work, client) for client in clients]
            cut = 0
            for _ in range(CUTS):
                cut += postgres_server.cut(postgres_url)
                over.wait(PERIOD_SECONDS)
            ended = time.monotonic()
            before = [client.written for client in clients]
            until(lambda: all(c.written > b for c, b in zip(clients, before, strict=True)), "writes of all clients")
            recovered = time.monotonic() - ended
            over.set()
            for each in working:
                each.result()
        assert cut > CUTS
        assert recovered < RECOVERED_SECONDS
        refusals = [answer for client in clients for answer in client.refusals]
        assert {(answer.status_code, answer.headers.get("Retry-After")) for answer in refusals} <= {(503, "1")}
        assert len(refusals) <= CUTS, [(each.request.method, each.text) for each in refusals]
        for client in clients:
            for key in KEYS:
                expected = [(number, number / 7) for number in range(1, client.written + 1)]
                assert points(tracker, client.run_id, key) == expected
