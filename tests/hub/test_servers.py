"""Notebook servers that a real hub started: the service's API through them, submitted runs, and visitors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import NewRun, Run
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub import realhub
from tests.hub.realhub import LEAD, OUTSIDER, RED, authorization, until
from tests.notebook_files import write_notebook

pytestmark = pytest.mark.slow

OF_THE_SERVER = f"access:servers!server={LEAD}/"


class Server:
    """The lead's server, for somebody who shows ``token``."""

    def __init__(self, hub: realhub.Hub, token: str) -> None:
        self.home = hub.folder / "users" / LEAD
        self.url = f"{hub.url}/user/{LEAD}/mlops"
        self._headers = authorization(token)

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        return requests.request(method, f"{self.url}/{path}", json=body, headers=self._headers, timeout=60)

    def submitted(self, path: str) -> str:
        """The id of a run of a notebook of the server's, once it has ended."""
        answer = self.ask("POST", "server/v1/runs", {"path": path})
        assert answer.status_code == 200, answer.text
        run_id = str(answer.json()["run_id"])
        job = until(lambda: (found := self.ask("GET", f"server/v1/jobs/{run_id}").json()).get("ended") and found, path)
        assert job["status"] == "FINISHED", job
        return run_id

    def listen(self) -> websocket.WebSocket:
        url = self.url.replace("http", "ws", 1) + "/api/v1/events"
        return websocket.create_connection(url, timeout=60, header=self._headers)


@pytest.fixture
def owner(hub: realhub.Hub, lead_server: dict[str, str]) -> Server:
    return Server(hub, hub.token(LEAD, OF_THE_SERVER))


def recorded(hub: realhub.Hub, run_id: str) -> Run:
    with RemoteTracker(hub.service_url, hub.token(LEAD)) as lead:
        return lead.runs.get(run_id)


def test_the_services_api_is_that_of_the_servers_owner(hub: realhub.Hub, owner: Server, tmp_path: Path) -> None:
    with RemoteTracker(owner.url, hub.token(LEAD, OF_THE_SERVER)) as tracker:
        # As the server's token, which decides nothing: not as the lead that shows a token to the server.
        assert (tracker.principal.name, tracker.principal.groups, tracker.principal.decides) == (LEAD, {RED}, False)
        run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("through a server").experiment_id))
        (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 10_000)
        tracker.artifacts.put(run.run_id, "weights.bin", tmp_path / "weights.bin")
        assert b"".join(tracker.artifacts.open(run.run_id, "weights.bin", start=300, stop=303)) == b",-."
    assert recorded(hub, run.run_id).user == LEAD
    status = owner.ask("GET", "server/v1/status").json()
    assert (status["owner"], status["is_service"], status["connected"]) == (LEAD, True, True)


def test_a_submitted_run_is_followed_live_from_its_start_to_its_end(hub: realhub.Hub, owner: Server) -> None:
    logs = "import jupyter_mlops as mlops\nmlops.log_metric('auc', 0.7)"
    write_notebook(owner.home / "live.ipynb", logs, parameters="depth: int = 3")
    listening = owner.listen()
    assert json.loads(listening.recv()) == []
    run_id = owner.submitted("live.ipynb")
    told: list[Any] = []
    while not any(run_id in str(one) and "FINISHED" in str(one) for one in told):
        told += json.loads(listening.recv())
    listening.close()
    run = recorded(hub, run_id)
    assert (run.user, run.submitted_by) == (LEAD, None)
    assert [metric.value for metric in run.metrics if metric.key == "auc"] == [0.7]


def test_what_a_visitor_submits_is_the_owners_with_the_visitors_name(hub: realhub.Hub, owner: Server) -> None:
    write_notebook(owner.home / "visited.ipynb", "pass")
    refused = Server(hub, hub.token(OUTSIDER)).ask("GET", "server/v1/status")
    assert refused.status_code in (401, 403)
    hub.ask("POST", f"shares/{LEAD}/", json={"user": OUTSIDER})
    visitor = Server(hub, hub.token(OUTSIDER, OF_THE_SERVER))
    run_id = until(
        lambda: visitor.ask("GET", "server/v1/status").ok and visitor.submitted("visited.ipynb"), "the share"
    )
    run = recorded(hub, run_id)
    assert (run.user, run.submitted_by) == (LEAD, OUTSIDER)
    # By no more than the name is it the visitor's.
    with RemoteTracker(hub.service_url, hub.token(OUTSIDER)) as tracker, pytest.raises(NotFound):
        tracker.runs.get(run_id)
