"""``jupyter mlops service`` without a hub: a process of its own, with a file of tokens."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from jupyter_mlops.cli.main import root
from jupyter_mlops.core.errors import Unauthenticated
from jupyter_mlops.tracker.remote import RemoteTracker
from tests.hub.realhub import authorization, until
from tests.hub.standalone import COMMAND, listens, started, token

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_what_was_asked_before_it_stops(tmp_path: Path, signal_number: signal.Signals) -> None:
    """An upload that is under way is taken to its end; connections that wait are closed; nobody new is let in."""
    credential = token(tmp_path, "ann", "--groups", "red")
    arguments = ["--db", f"sqlite:///{tmp_path / 'mlops.db'}", "--tokens", "tokens.json"]
    with started(tmp_path, *arguments) as (process, url):
        host, port = re.findall(r"//(.*):(\d+)/", url)[0]
        with RemoteTracker(url, credential) as tracker:
            assert tracker.experiments.ensure("first").owner == "group:red"
            begun = b'{"name": "asked '
            rest = b'before"}'
            with socket.create_connection((host, int(port)), timeout=30) as slow:
                slow.sendall(
                    f"POST /api/v1/experiments HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {credential}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(begun + rest)}\r\n\r\n".encode()
                    + begun
                )
                # An answer on another connection: the service has read what the first one sent.
                assert tracker.experiments.find("first").name == "first"
                before = time.monotonic()
                process.send_signal(signal_number)
                until(lambda: not listens(host, int(port)), "nobody new is let in", 10)
                slow.sendall(rest)
                answer = slow.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"asked before" in answer
        assert process.wait(10) == 0
        assert time.monotonic() - before < 10
    with started(tmp_path, *arguments) as (_, url), RemoteTracker(url, credential) as tracker:
        assert tracker.experiments.find("asked before").name == "asked before"
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def test_it_stops_in_time_though_somebody_never_ends(tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    with started(tmp_path, "--tokens", "tokens.json") as (process, url):
        host, port = re.findall(r"//(.*):(\d+)/", url)[0]
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(
                f"POST /api/v1/experiments HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {credential}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n".encode()
            )
            assert requests.get(f"{url}health", timeout=30).ok
            before = time.monotonic()
            process.terminate()
            process.wait(12)
            assert time.monotonic() - before < 10
    assert "1 requests were cut off" in (tmp_path / "service.log").read_text()


def test_who_listens_does_not_keep_it(tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")

    async def listen(process: subprocess.Popen[str], url: str) -> None:
        events = HTTPRequest(url.replace("http", "ws") + "api/v1/events", headers=authorization(credential))
        connection = await websocket_connect(events)
        assert await connection.read_message() == "[]"
        process.terminate()
        assert await connection.read_message() is None

    with started(tmp_path, "--tokens", "tokens.json") as (process, url):
        before = time.monotonic()
        asyncio.run(listen(process, url))
        assert process.wait(10) == 0
        assert time.monotonic() - before < 6
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def test_tokens_come_and_go_while_it_runs(tmp_path: Path) -> None:
    first = token(tmp_path, "ann")
    with started(tmp_path, "--tokens", "tokens.json", "--base-url", "mlops") as (_, url):
        assert url.endswith("/mlops/")
        second = token(tmp_path, "bea", "--scopes", "read")
        for credential, status in ((first, 200), (second, 403), ("mlops_none", 401)):
            body = {"name": credential}
            answer = requests.post(
                f"{url}api/v1/experiments/ensure", json=body, headers=authorization(credential), timeout=30
            )
            assert answer.status_code == status
        file = str(tmp_path / "tokens.json")
        listed = CliRunner().invoke(root, ["token", "list", "-f", file]).output
        assert "ann" in listed
        assert first not in listed
        revoked = CliRunner().invoke(root, ["token", "revoke", "-f", file, "--user", "ann", "--yes"])
        assert revoked.output == "Revoked 1 token.\n"
        with RemoteTracker(url, first) as tracker, pytest.raises(Unauthenticated):
            tracker.experiments.find("x")
        assert requests.get(f"{url}api/v1/principal", headers=authorization(second), timeout=30).ok


def test_a_token_counts_for_as_long_as_it_was_made_for(tmp_path: Path) -> None:
    short, long = token(tmp_path, "ann", "--expires", "2s"), token(tmp_path, "bea", "--expires", "90d")
    with started(tmp_path, "--tokens", "tokens.json") as (_, url):

        def ask(credential: str) -> requests.Response:
            return requests.get(f"{url}api/v1/principal", headers=authorization(credential), timeout=30)

        until(lambda: ask(short).status_code == 401, "it expires")
        assert "expired" in ask(short).json()["message"]
        assert ask(long).ok
    listed = json.loads(
        CliRunner().invoke(root, ["token", "list", "-f", str(tmp_path / "tokens.json"), "--json"]).stdout
    )
    kept = {grant["user"]: grant["expires"] - grant["created"] for grant in listed}
    assert kept == {"ann": 2000, "bea": 90 * 86_400_000}
    wrong = CliRunner().invoke(
        root, ["token", "create", "eve", "-f", str(tmp_path / "tokens.json"), "--expires", "soon"]
    )
    assert wrong.exit_code == 2


def test_many_cookies_are_no_reason_to_refuse(tmp_path: Path) -> None:
    credential = token(tmp_path, "ann")
    with started(tmp_path, "--tokens", "tokens.json") as (_, url):
        headers = authorization(credential) | {"Cookie": "; ".join(f"c{n}={'x' * 4000}" for n in range(40))}
        assert requests.get(f"{url}api/v1/principal", headers=headers, timeout=30).ok


def test_no_secret_of_a_request_is_kept_or_said(tmp_path: Path) -> None:
    shown = token(tmp_path, "ann", "--scopes", "write")
    unknown, cookie, query = (f"Zx{uuid.uuid4().hex}" for _ in range(3))
    answers: list[str] = []
    arguments = ("--tokens", str(tmp_path / "tokens.json"), "--log-level", "DEBUG")
    with started(tmp_path, *arguments) as service:

        def ask(method: str, path: str, given: str = shown, **keywords: Any) -> Any:
            headers = authorization(given) | {"Cookie": f"session={cookie}", "X-Forwarded-For": query}
            url = f"{service.url.rstrip('/')}/{path}"
            answer = requests.request(method, url, headers=headers, timeout=30, **keywords)
            answers.append(answer.text + str(answer.headers))
            return answer

        experiment = ask("POST", "api/v1/experiments", json={"name": "e"}).json()["experiment_id"]
        run = ask("POST", "api/v1/runs", json={"new": {"experiment_id": experiment}}).json()["run_id"]
        for method in ("GET", "POST", "PUT", "DELETE", "FOO"):
            for path in ("principal", f"runs/{run}", f"runs/{run}/content", "runs/%ff", "audit", "events", "nothing"):
                for given in (shown, unknown):
                    assert ask(method, f"api/v1/{path}?path=a&token={query}", given).status_code < 500
        assert ask("GET", f"metrics?token={query}").status_code == 200
    log = (tmp_path / "service.log").read_text()
    assert "DEBUG" in log or "/api/v1/principal" in log
    for secret in (shown, unknown, cookie, query):
        assert secret not in "".join(answers)
        search = ["grep", "-rlaF", secret, str(tmp_path)]
        assert subprocess.run(search, check=False, capture_output=True).stdout == b"", secret


def test_the_configuration_file_it_writes_is_one_it_reads(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "--generate-config"], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "jupyter_mlops_service_config.py"
    text = path.read_text()
    assert "# c.MLOpsService.threads = 32" in text
    assert "c.HubIdentity.cache_seconds" in text
    again = subprocess.run([*COMMAND, "--generate-config"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert again.returncode == 2
    assert "exists" in again.stderr
    path.write_text(f"{text}\nc.MLOpsService.base_url = '/from-file'\nc.MLOpsService.tokens_file = 'tokens.json'\n")
    token(tmp_path, "ann")
    with started(tmp_path) as (_, url):
        assert url.endswith("/from-file/")
    with started(tmp_path, "--MLOpsService.base_url=/typed") as (_, url):
        assert url.endswith("/typed/")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "nothing says who the callers are"),
        (["--tokens", "none.json"], "cannot be read"),
        (["--config", "none.py"], "no configuration file"),
        (["--tokens", "tokens.json", "--db", "http://127.0.0.1/mlops"], "is a service itself"),
        (["--tokens", "tokens.json", "--port", "99999"], "port"),
        (["--tokens", "tokens.json", "extra"], "extra"),
    ],
)
def test_what_cannot_be_accepted_is_said(tmp_path: Path, arguments: list[str], why: str) -> None:
    token(tmp_path, "ann")
    own = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTERHUB_")}
    # In a terminal of a hub's user there is a token too, but this is no service of the hub.
    own |= {"JUPYTERHUB_API_TOKEN": "x", "JUPYTERHUB_USER": "ann", "MLOPS_HOME": str(tmp_path)}
    ended = subprocess.run(
        [*COMMAND, "--port", "0", *arguments],
        cwd=tmp_path,
        env=own,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_place_that_is_taken_is_said(tmp_path: Path) -> None:
    token(tmp_path, "ann")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for arguments, why in (
            (["--port", port], f"cannot listen at 127.0.0.1, port {port}: Address already in use"),
            (["--port", "0", "--ip", "192.0.2.1"], "cannot listen at 192.0.2.1, port 0: Cannot assign"),
            (["--port", "0", "--ip", "no.such.host.invalid"], "cannot listen at no.such.host.invalid, port 0: "),
        ):
            command = [*COMMAND, "--tokens", "tokens.json", *arguments]
            ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 2
            assert why in ended.stderr
            assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("ip", ["localhost", ""])
def test_all_addresses_of_a_name_are_listened_at(tmp_path: Path, ip: str) -> None:
    credential = token(tmp_path, "ann")
    with (
        started(tmp_path, "--ip", ip, "--tokens", "tokens.json") as (_, url),
        RemoteTracker(url, credential) as tracker,
    ):
        assert tracker.experiments.ensure("somewhere").name == "somewhere"


def test_without_a_hub_no_package_of_it_is_needed(tmp_path: Path) -> None:
    token(tmp_path, "ann")
    code = (
        "import os, signal, sys\n"
        "from jupyter_mlops.hub.application import MLOpsService\n"
        "def ready(url):\n"
        "    print([name for name in sys.modules if name.partition('.')[0] in ('jupyterhub', 'oauthlib')])\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "MLOpsService.launch_instance(['--port=0', '--tokens=tokens.json'], when_ready=ready)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "MLOPS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[]\n"
