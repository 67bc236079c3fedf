"""A Jupyter server on a hub: the service's API as its user, also while the service is away."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.credentials import token_digest
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.service.tokens import read_grants
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.notebook_files import write_notebook
from tests.server.jupyter import TOKEN, JupyterServer
from tests.server.test_jobs import WAITS, ended, job, submit
from tests.service.inprocess import Running, running
from tests.waiting import processes_with, until

pytestmark = pytest.mark.slow


class Hub:
    """A service that can be away, and a user's server beside it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self._database_url = database_url
        self._running = ExitStack()
        self._port = 0
        self.service: Running
        self.start_service()
        self.token = self.service.token("ada")
        self.server = JupyterServer(
            folder,
            MLOPS_TRACKING_URL=self.service.url,
            JUPYTERHUB_API_TOKEN=self.token,
            JUPYTERHUB_USER="ada",
        )

    def start_service(self, *, requests_per_second: float = 0.0) -> None:
        started = running(
            self._database_url,
            self.folder / "artifacts",
            self.folder,
            self._port,
            requests_per_second=requests_per_second,
        )
        self.service = self._running.enter_context(started)
        self._port = urlsplit(self.service.url).port or 0

    def stop_service(self) -> None:
        self._running.close()

    def revoke(self, token: str) -> None:
        grants = read_grants(self.folder / "tokens.json")
        del grants[token_digest(token)]
        (self.folder / "tokens.json").write_bytes(msgspec.json.encode(grants))

    def close(self) -> None:
        self.server.end()
        self.stop_service()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    started = Hub(folder, f"sqlite:///{folder / 'service.db'}")
    started.server.start()
    yield started
    started.close()


@pytest.fixture
def tracker(hub: Hub) -> Iterator[RemoteTracker]:
    with RemoteTracker(f"{hub.server.url}/mlops", TOKEN) as opened:
        yield opened


def test_a_request_has_one_id_in_both_logs(hub: Hub) -> None:
    given = "0195a0c1-from-a-browser"
    answer = hub.server.ask("GET", f"mlops/api/v1/runs/{'0' * 32}", X_Request_Id=given)
    assert answer.status == 404
    # The body is the service's own answer.
    assert answer.headers["X-Request-Id"] == json.loads(answer.content)["request_id"] == given


def test_the_service_is_reached_as_the_user(hub: Hub, tracker: RemoteTracker, tmp_path: Path) -> None:
    assert (tracker.principal.name, tracker.principal.scope) == ("ada", Scope.WRITE)
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("forwarded").experiment_id))
    file = tmp_path / "weights.bin"
    file.write_bytes(os.urandom(1 << 20) * 20)
    stored = tracker.artifacts.put(run.run_id, "deep/weights.bin", file)
    assert stored.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert b"".join(tracker.artifacts.open(run.run_id, "deep/weights.bin")) == file.read_bytes()
    with RemoteTracker(hub.service.url, hub.service.token("eve")) as eve, pytest.raises(NotFound):
        eve.runs.get(run.run_id)
    with pytest.raises(NotFound):
        tracker.runs.get("0" * 32)


def test_parts_and_tags_of_content_pass(hub: Hub, tracker: RemoteTracker, tmp_path: Path) -> None:
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("forwarded").experiment_id))
    (tmp_path / "a.txt").write_text("0123456789")
    tracker.artifacts.put(run.run_id, "a.txt", tmp_path / "a.txt")
    path = f"mlops/api/v1/runs/{run.run_id}/content?path=a.txt"
    whole = hub.server.ask("GET", path)
    assert (whole.status, whole.content) == (200, b"0123456789")
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    part = hub.server.ask("GET", path, Range="bytes=3-5")
    assert (part.status, part.content, part.headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")
    assert hub.server.ask("GET", path, If_None_Match=whole.headers["ETag"]).status == 304
    head = hub.server.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.content) == (200, "10", b"")


def test_an_upload_that_breaks_off_stores_nothing(hub: Hub, tracker: RemoteTracker) -> None:
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("forwarded").experiment_id))

    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionAbortedError("the client is gone")

    with pytest.raises(Exception, match=r"gone|abort|broken"):
        hub.server.stream("PUT", f"mlops/api/v1/runs/{run.run_id}/content?path=half.bin", broken())
    assert hub.server.ask("GET", "mlops/api/v1/principal").status == 200
    assert tracker.artifacts.walk(run.run_id) == ()


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/%2e%2e/hub", "runs/%2e%2e/%2e%2e/%2e%2e/other", "runs/..%2f..%2fhub", "runs/a%5cb", "runs//x", "runs/%00"],
)
def test_nothing_but_the_services_api_is_reached(hub: Hub, path: str) -> None:
    answer = hub.server.ask("GET", f"mlops/api/v1/{path}")
    assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert answer.json["message"] == "there is nothing at this URL"


def test_strangers_do_not_reach_the_service(hub: Hub) -> None:
    for method, status in (("GET", 401), ("POST", 403)):
        assert hub.server.ask(method, "mlops/api/v1/principal", token=None).status == status


def test_lists_are_stale_and_writes_are_refused_while_the_service_is_away(hub: Hub) -> None:
    server = hub.server
    (created,) = (server.ask("POST", "mlops/api/v1/experiments/ensure", {"name": "away"}).json,)
    one = f"mlops/api/v1/experiments/{created['experiment_id']}"
    search = ("POST", "mlops/api/v1/search/experiments", {"filter": "name = 'away'"})
    fresh = [server.ask("GET", one), server.ask(*search)]
    assert all("X-MLOps-Stale" not in answer.headers for answer in fresh)
    hub.stop_service()
    try:
        stale = [server.ask("GET", one), server.ask(*search)]
        assert [answer.status for answer in stale] == [200, 200]
        assert all(int(answer.headers["X-MLOps-Stale"]) >= 0 for answer in stale)
        assert [answer.json for answer in stale] == [answer.json for answer in fresh]
        for refused in (
            server.ask("POST", "mlops/api/v1/experiments/ensure", {"name": "another"}),
            server.ask("GET", "mlops/api/v1/experiments/find?name=never"),
        ):
            assert (refused.status, refused.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "is away" in refused.json["message"]
        status = server.ask("GET", "mlops/server/v1/status").json
        assert (status["is_service"], status["connected"]) == (True, False)
        assert status["problem"]
        write_notebook(server.work / "away.ipynb", "pass")
        assert submit(server, "away.ipynb", status=503)["error_code"] == "TEMPORARILY_UNAVAILABLE"
    finally:
        hub.start_service()
    assert "X-MLOps-Stale" not in server.ask("GET", one).headers
    assert server.ask("GET", "mlops/server/v1/status").json["connected"]


def test_who_asks_too_often_hears_it_from_the_service(hub: Hub) -> None:
    hub.stop_service()
    hub.start_service(requests_per_second=0.1)
    try:
        answers = [hub.server.ask("POST", "mlops/api/v1/experiments/ensure", {"name": "often"}) for _ in range(5)]
    finally:
        hub.stop_service()
        hub.start_service()
    assert {answer.status for answer in answers} <= {200, 429}
    assert (answers[-1].status, answers[-1].json["error"]) == (429, "TooManyRequests")
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_events_of_the_service_are_passed_on(hub: Hub, tracker: RemoteTracker) -> None:
    listening = hub.server.listen("mlops/api/v1/events")
    assert json.loads(listening.recv()) == []
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("followed").experiment_id))
    told: list[object] = []
    while not any(run.run_id in str(one) for one in told):
        told += json.loads(listening.recv())
    listening.close()


def test_a_run_survives_its_server_and_takes_the_new_token(hub: Hub) -> None:
    server, flag = hub.server, hub.folder / "go-on"
    write_notebook(server.work / "survives.ipynb", "pass", WAITS.format(path=str(flag)), "print('done')")
    submitted = submit(server, "survives.ipynb")
    run_id = submitted["run_id"]
    assert submitted["run"]["user"] == "ada"
    # This server's identity provider makes up names, so that nobody here is the owner.
    assert submitted["submitted_by"]
    assert submitted["run"]["submitted_by"] == submitted["submitted_by"]
    until(lambda: job(server, run_id)["run"].get("progress"), "the first cell")
    server.end(signal.SIGKILL)
    hub.revoke(hub.token)
    hub.token = server.environment["JUPYTERHUB_API_TOKEN"] = hub.service.token("ada")
    server.start()
    assert job(server, run_id)["status"] == "RUNNING"
    flag.touch()
    found = ended(server, run_id)
    assert (found["status"], found["run"]["progress"]) == ("FINISHED", {"done": 3, "total": 3})
    until(lambda: not processes_with(run_id), "the end of worker and kernel")
    files = [path for path in (hub.folder / "home").rglob("*") if path.is_file()]
    holding = [path for path in files if hub.token.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["token"]
    assert holding[0].stat().st_mode & 0o77 == 0
