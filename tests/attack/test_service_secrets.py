"""Secrets planted in what passes the service on PostgreSQL; afterwards all that it keeps and says is searched for them.

In a notebook's environment and parameters, in URLs and headers, in what programs send directly, in what is refused, and
in what waits in a spool while the service is away.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import sqlalchemy as sa
from machines import Machine
from test_secrets import ECHO, FAIL, PARAMETERS

from tests import postgres
from tests.hub.realhub import authorization, free_ports
from tests.hub.standalone import started, token

pytestmark = pytest.mark.slow

SPOOLED = """
import os
import jupyter_mlops as mlops
with mlops.start_run():
    mlops.log_params({"db_password": os.environ["SERVICE_TOKEN"], "database": os.environ["DATABASE_URL"]})
    mlops.set_tag("repo", os.environ["DATABASE_URL"])
    mlops.log_input(mlops.data.from_numpy(__import__("numpy").zeros(3), name="n", source=os.environ["DATABASE_URL"]))
"""


def changed(url: str, statement: bytes) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def dumped(url: str) -> str:
    """All rows of all tables as text; bytes are hexadecimal."""
    found = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT') as rows:
                found += [bytes(row).decode() for row in rows]
    return "".join(found)


class Client:
    """A program without this package; ``said`` is all that it was answered."""

    def __init__(self, url: str, credential: str, secrets: dict[str, str]) -> None:
        self._api = f"{url}api/v1/"
        self._headers = authorization(credential) | {"Cookie": f"s={secrets['cookie']}", "X-Key": secrets["header"]}
        self._hidden = secrets["sent"]
        self.said: list[str] = []

    def ask(self, method: str, path: str, status: int = 200, **keywords: Any) -> Any:
        answer = requests.request(method, self._api + path, headers=self._headers, timeout=30, **keywords)
        self.said.append(f"{answer.text}\n{answer.headers}")
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def params(self) -> Iterator[dict[str, Any]]:
        at_host = f"postgresql://ann:{self._hidden}@host/d"
        for key, value in (("db_password", self._hidden), ("database", at_host), ("auth", {"user": self._hidden})):
            yield {"key": key, "value": value, "text": str(value)}

    def work(self) -> str:
        """Create a run, log to it, all with secrets; gives its id."""
        url = f"https://ann:{self._hidden}@host/x"
        tags = [{"key": "repo", "value": url}, {"key": "api_key", "value": self._hidden}]
        inputs = [{"dataset": {"name": "d", "digest": "1", "source": url}, "tags": tags}]
        batch = {"params": list(self.params()), "tags": tags, "inputs": inputs}
        experiment = self.ask("POST", "experiments", json={"name": "raw", "tags": {"repo": url}})["experiment_id"]
        new = {"experiment_id": experiment, "source": url, "batch": batch}
        run_id = str(self.ask("POST", "runs", json={"new": new})["run_id"])
        other = str(self.ask("POST", "runs", json={"new": {"experiment_id": experiment}})["run_id"])
        self.ask("POST", f"runs/{other}/log", 204, json={"batch": batch})
        reason = {"kind": "error", "message": f"cannot reach {url}"}
        self.ask("PATCH", f"runs/{other}", json={"change": {"status": "FAILED", "reason": reason}})
        return run_id

    def be_refused(self, run_id: str) -> None:
        """Send what is refused, all with secrets."""
        long = self._hidden * 300
        at_host = f"https://ann:{self._hidden}@host/{'x' * 9000}"
        twice = [{"key": "token", "value": text, "text": text} for text in (self._hidden, self._hidden[::-1])]
        for batch in (
            {"params": [{"key": "db_password", "value": long, "text": long}]},
            {"params": [{"key": "database", "value": at_host, "text": at_host}]},
            {"params": [{"key": "api_key", "value": f"{self._hidden}\0", "text": f"{self._hidden}\0"}]},
            {"params": [{"key": "smtp_pass", "value": self._hidden, "text": [self._hidden]}]},
            {"params": twice},
            {"tags": [{"key": "repo", "value": at_host}]},
            {"metrics": [{"key": "password", "value": self._hidden, "timestamp": 1}]},
        ):
            self.ask("POST", f"runs/{run_id}/log", 400, json={"batch": batch})
        self.ask("POST", f"runs/{run_id}/log", 400, data=f'{{"db_password": "{self._hidden}"')
        self.ask("POST", f"runs/{run_id}/log", 400, json={"db_password": self._hidden})
        self.ask("GET", f"runs/{run_id}?token={self._hidden}", 400)
        self.ask("GET", f"nothing?token={self._hidden}", 404)


def test_no_secret_is_kept_or_said_by_the_service(
    machine: Machine, postgres_url: str, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    names = ("given", "file", "variable", "database", "service", "cookie", "header", "sent")
    secrets = {name: f"Zx{uuid.uuid4().hex}" for name in names}
    secrets["token"] = token(tmp_path, "ann")
    secrets["unknown"] = f"mlops_{uuid.uuid4().hex}"
    postgres_with_password = sa.make_url(postgres_url).set(password=secrets["service"])
    port = str(free_ports(1)[0])
    arguments = (
        *("--port", port, "--artifacts", str(tmp_path / "files"), "--tokens", "tokens.json", "--log-level", "DEBUG"),
        *("--db", postgres_with_password.render_as_string(hide_password=False)),
    )
    machine.environment |= {
        "SERVICE_TOKEN": secrets["variable"],
        "DATABASE_URL": f"postgresql://ann:{secrets['database']}@127.0.0.1:1/d",
        "MLOPS_TRACKING_TOKEN": secrets["token"],
        "MLOPS_TRACKING_URL": f"http://127.0.0.1:{port}/",
    }
    notebook = machine.notebook(ECHO, FAIL, parameters=PARAMETERS)
    given = ("-p", f"api_key={secrets['given']}", "-p", f"db_password={secrets['file']}")
    said: list[str] = []
    logs: list[str] = []
    # A run of a script waits in a spool until there is a service.
    script = machine.start("-c", SPOOLED)
    said += script.communicate(timeout=60)
    assert "stored later" in said[-1]
    with started(tmp_path, *arguments) as service:
        said += machine.run("spool", "flush")
        said += machine.run("run", notebook, *given, "--output", "out.ipynb", status=1)
        said += machine.run("sweep", notebook, "--grid", "lr=1,2", *given, status=1)
        client = Client(service.url, secrets["token"], secrets)
        run_id = client.work()
        client.be_refused(run_id)
        for header in (f"token {secrets['unknown']}", f"Basic {secrets['header']}"):
            answer = requests.get(f"{service.url}api/v1/principal", headers={"Authorization": header}, timeout=30)
            assert answer.status_code == 401
            said.append(answer.text)
        # Failures, of which the log tells all.
        changed(postgres_url, b"ALTER TABLE param RENAME TO gone")
        asked = {"filter": f"params.db_password = '{secrets['sent']}'"}
        client.ask("POST", "search/runs", 500, json=asked)
        client.ask("POST", f"runs/{run_id}/log", 500, json={"batch": {"params": list(client.params())}})
        changed(postgres_url, b"ALTER TABLE gone RENAME TO param")
        changed(postgres_url, b"ALTER TABLE model_tag RENAME TO gone")
        client.ask("POST", "search/models", 500, json={"filter": f"tags.token = '{secrets['sent']}'"})
        changed(postgres_url, b"ALTER TABLE gone RENAME TO model_tag")
        postgres_server.allow_connections(postgres_url, False)
        client.ask("POST", "search/runs", 503, json=asked)
        postgres_server.allow_connections(postgres_url, True)
        for run in machine.runs():
            said += machine.run("runs", "show", run["run_id"])
        said += client.said
        service.process.terminate()
        logs += [str(service.process.communicate(timeout=30)[0]), (tmp_path / "service.log").read_text()]
    assert "does not exist" in logs[-1]
    kept = dumped(postgres_url)
    assert kept.count("[redacted]") > 20
    assert "refused [redacted]" in (machine.work / "out.ipynb").read_text()
    for name, secret in secrets.items():
        assert secret not in "\n".join(said), name
        assert secret not in "\n".join(logs), name
        for form in (secret, secret.encode().hex(), secret[::-1]):
            assert form not in kept, name
        folders = [machine.home, machine.work, machine.tmp, tmp_path]
        search = subprocess.run(["grep", "-rlaF", secret, *folders], check=False, capture_output=True)
        assert search.stdout == b"", name
