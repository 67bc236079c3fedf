"""PostgreSQL ends all connections of the service again and again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import requests

from jupyter_mlops.tracker.remote import RemoteTracker
from tests import postgres
from tests.history import points
from tests.hub.realhub import authorization
from tests.hub.standalone import started, token
from tests.waiting import until

pytestmark = pytest.mark.slow

CLIENTS, SHARERS, CUTS = 8, 4, 20
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


class Sharer(Client):
    """Changes what is written in transactions of its own, and downloads."""

    def __init__(self, url: str, credential: str, experiment_id: str) -> None:
        super().__init__(url, credential, experiment_id)
        self._experiment, self._model = f"experiments/{experiment_id}", f"models/m{self.run_id}"
        self._file, self._content = f"runs/{self.run_id}/content?path=a", self.run_id.encode()
        assert self._session.put(self._api + self._file, self._content, timeout=60).ok
        self._ask("POST", "models", {"name": f"m{self.run_id}"})

    def step(self) -> None:
        number = str(self.written + 1)
        self._ask("PATCH", f"{self._model}/tags", {"tags": {"step": number}})
        self._ask("POST", f"{self._experiment}/shares", {"to_user": f"{self.run_id}-{number}"})
        self._ask("PATCH", f"{self._experiment}/tags", {"tags": {self.run_id: number}})
        assert {"key": "step", "value": number} in self._ask("GET", self._model).json()["tags"]
        assert self._ask("GET", self._file).content == self._content
        self.written += 1


def test_connections_that_are_cut(postgres_server: postgres.Server, postgres_url: str, tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    arguments = ["--db", postgres_url, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        experiment = tracker.experiments.ensure("cut")
        clients = [Client(url, credential, experiment.experiment_id) for _ in range(CLIENTS)]
        sharers = [Sharer(url, credential, experiment.experiment_id) for _ in range(SHARERS)]
        everybody = [*clients, *sharers]
        over = threading.Event()

        def work(client: Client) -> None:
            while not over.is_set():
                client.step()

        with ThreadPoolExecutor(len(everybody)) as pool:
            working = [pool.submit(work, client) for client in everybody]
            cut = 0
            for _ in range(CUTS):
                cut += postgres_server.cut(postgres_url)
                over.wait(PERIOD_SECONDS)
            ended = time.monotonic()
            before = [client.written for client in everybody]
            until(lambda: all(c.written > b for c, b in zip(everybody, before, strict=True)), "writes of all clients")
            recovered = time.monotonic() - ended
            over.set()
            for each in working:
                each.result()
        assert cut > CUTS
        assert recovered < RECOVERED_SECONDS
        refusals = [answer for client in everybody for answer in client.refusals]
        assert {(answer.status_code, answer.headers.get("Retry-After")) for answer in refusals} <= {(503, "1")}
        assert len(refusals) <= CUTS, [(each.request.method, each.text) for each in refusals]
        shares = {share.to_user for share in tracker.experiments.shares(experiment.experiment_id)}
        assert shares == {f"{each.run_id}-{n}" for each in sharers for n in range(1, each.written + 1)}
        for client in clients:
            for key in KEYS:
                expected = [(number, number / 7) for number in range(1, client.written + 1)]
                assert points(tracker, client.run_id, key) == expected


CUT_WAITING = """
SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("table", ["model_tag", "experiment_share", "experiment_tag", "artifact"])
def test_what_was_under_way_when_its_connection_was_cut_is_done_again(
    postgres_url: str, tmp_path: Path, table: str
) -> None:
    credential = token(tmp_path, "ann")
    arguments = ["--db", postgres_url, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        experiment = tracker.experiments.ensure("cut")
        sharer = Sharer(url, credential, experiment.experiment_id)
        with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as holding:
            holding.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            working = pool.submit(sharer.step)
            with psycopg.connect(postgres_url, autocommit=True) as cutting:
                until(lambda: cutting.execute(CUT_WAITING).fetchone() == (1,), "a transaction that waits")
            holding.rollback()
            working.result()
        assert (sharer.written, sharer.refusals) == (1, [])
        assert [share.to_user for share in tracker.experiments.shares(experiment.experiment_id)] == [
            f"{sharer.run_id}-1"
        ]
