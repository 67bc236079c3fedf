"""The API in a Jupyter server without a hub: the store of its user, behind the server's own checks."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import Batch, Metric, NewRun
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.server.jupyter import TOKEN, JupyterServer

pytestmark = pytest.mark.slow


@pytest.fixture
def tracker(server: JupyterServer) -> Iterator[RemoteTracker]:
    with RemoteTracker(f"{server.url}/mlops", TOKEN) as opened:
        yield opened


@pytest.mark.parametrize("part", ["api", "server"])
def test_a_description_says_where_its_requests_are(server: JupyterServer, part: str) -> None:
    description = server.ask("GET", f"mlops/{part}/v1/openapi.json").json
    assert description["servers"] == [{"url": f"/user/ada/mlops/{part}/v1"}]


def test_a_remote_tracker_works_with_the_servers_token(tracker: RemoteTracker, tmp_path: Path) -> None:
    experiment = tracker.experiments.ensure("mounted")
    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))
    tracker.runs.log(run.run_id, Batch(metrics=(Metric("loss", 0.5, 1, 0),)))
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(range(256)) * 20_000)
    tracker.artifacts.put(run.run_id, "weights.bin", file)
    assert b"".join(tracker.artifacts.open(run.run_id, "weights.bin")) == file.read_bytes()
    assert b"".join(tracker.artifacts.open(run.run_id, "weights.bin", start=300, stop=310)) == bytes(range(44, 54))
    assert [found.run_id for found in tracker.runs.search(filter="metrics.loss < 1").items] == [run.run_id]
    with pytest.raises(NotFound):
        tracker.runs.get("0" * 32)


def test_the_caller_is_an_administrator_of_the_own_store(tracker: RemoteTracker) -> None:
    assert tracker.principal.scope is Scope.ADMIN


def test_prometheus_is_told_what_waits_in_spools(server: JupyterServer) -> None:
    answer = server.ask("GET", "metrics")
    assert answer.status == 200
    assert b"\nmlops_spool_bytes 0.0\n" in answer.content


def test_bytes_go_out_as_attachments(server: JupyterServer, tracker: RemoteTracker, tmp_path: Path) -> None:
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("mounted").experiment_id))
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    tracker.artifacts.put(run.run_id, "page.html", tmp_path / "page.html")
    answer = server.ask("GET", f"mlops/api/v1/runs/{run.run_id}/content?path=page.html", Range="bytes=1-6")
    assert (answer.status, answer.content) == (206, b"script")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(("method", "status"), [("GET", 401), ("POST", 403)])
def test_strangers_get_a_refusal_that_programs_understand(
    server: JupyterServer, token: str | None, method: str, status: int
) -> None:
    answer = server.ask(method, "mlops/api/v1/experiments/find?name=mounted", token=token)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json["error_code"] in ("UNAUTHENTICATED", "PERMISSION_DENIED")


def test_what_is_not_there_is_a_404_in_json(server: JupyterServer) -> None:
    answer = server.ask("GET", "mlops/api/v1/nothing/here")
    assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_browsers_cookie_needs_the_servers_xsrf_token(server: JupyterServer) -> None:
    host = server.url.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", f"/user/ada/tree?token={TOKEN}")
    answer = connection.getresponse()
    answer.read()
    cookies = dict(cookie.partition(";")[0].split("=", 1) for cookie in answer.headers.get_all("Set-Cookie") or ())
    sent = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "Content-Type": "application/json",
    }
    path = "/user/ada/mlops/api/v1/experiments/ensure"
    body = json.dumps({"name": "by a browser"})

    def post(**headers: str) -> tuple[int, dict[str, str]]:
        connection.request("POST", path, body, {**sent, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    status, problem = post()
    assert (status, problem["error_code"]) == (403, "PERMISSION_DENIED")
    assert "_xsrf" in problem["message"]
    assert post(**{"X-XSRFToken": cookies["_xsrf"]})[0] == 200
    status, _ = post(**{"X-XSRFToken": cookies["_xsrf"], "Origin": "https://elsewhere.example"})
    assert status == 404
    connection.close()


def test_a_browser_follows_what_happens(server: JupyterServer, tracker: RemoteTracker) -> None:
    listening = server.listen("mlops/api/v1/events")
    assert json.loads(listening.recv()) == []
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("followed").experiment_id))
    told: list[dict[str, object]] = []
    while not any(run.run_id in str(one) for one in told):
        told += json.loads(listening.recv())
    listening.close()
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        server.listen("mlops/api/v1/events", token="wrong")


def test_mlflows_client_tracks_to_the_servers_user(
    server: JupyterServer, tracker: RemoteTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    client = MlflowClient(f"{server.url}/mlops")
    run = client.create_run(client.create_experiment("through mlflow"), run_name="mine")
    client.log_metric(run.info.run_id, "loss", 0.25, step=2)
    client.log_text(run.info.run_id, "hello", "notes.txt")
    found = tracker.runs.get(run.info.run_id)
    assert (found.name, found.metrics[0].value, found.metrics[0].step) == ("mine", 0.25, 2)
    assert b"".join(tracker.artifacts.open(run.info.run_id, "notes.txt")) == b"hello"
