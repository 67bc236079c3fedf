"""A real Jupyter server on a free port of this machine, and talking to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
import websocket

from tests.waiting import until

TOKEN = "a-token-for-tests"
CONFIG = Path(__file__).parents[2] / "etc" / "jupyter"
"""What an installation puts where Jupyter looks for it."""
_NOT_INHERITED = ("MLOPS_", "JUPYTER")


class Answer:
    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.content = answer.data

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class JupyterServer:
    """A server whose files are in ``folder``: ``work`` holds notebooks, ``home`` the embedded store."""

    command: tuple[str, ...] = (sys.executable, "-m", "jupyter_server")

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.home = folder / "home"
        self.options = options
        self.environment = environment
        self.work.mkdir(exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        self._pool = urllib3.PoolManager(retries=False, timeout=60)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> JupyterServer:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        runtime = self.folder / "runtime"
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*self.command, "--port=0", "--allow-root", "--no-browser"),
                    *(f"--ServerApp.root_dir={self.work}", "--ServerApp.base_url=/user/ada/"),
                    *self.options,
                ],
                cwd=self.folder,
                env={
                    **inherited,
                    "JUPYTER_CONFIG_PATH": str(CONFIG),
                    "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
                    "JUPYTER_DATA_DIR": str(self.folder / "data"),
                    "JUPYTER_RUNTIME_DIR": str(runtime),
                    "JUPYTER_TOKEN": TOKEN,
                    "MLOPS_HOME": str(self.home),
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.url = until(self._address, "the start of the server")
        return self

    def _address(self) -> str | None:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        found = self.folder / "runtime" / f"jpserver-{self.process.pid}.json"
        try:
            url = str(json.loads(found.read_text())["url"]).rstrip("/")
            # The file is there before the server listens.
            self._pool.request("GET", f"{url}/api")
        except (FileNotFoundError, ValueError, urllib3.exceptions.HTTPError):
            return None
        return url

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, **headers: str) -> Answer:
        """The answer to a request below the server's URL; names of headers with ``_`` for ``-``."""
        # A connection that is kept may be closed by the server just when it is used again.
        sent = {"Connection": "close", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if token is not None:
            sent["Authorization"] = f"token {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        return Answer(self._pool.request(method, f"{self.url}/{path}", body=body, headers=sent, redirect=False))

    def stream(self, method: str, path: str, body: Iterator[bytes]) -> Answer:
        """The answer to a request whose body comes in pieces."""
        headers = {"Authorization": f"token {TOKEN}"}
        return Answer(self._pool.request(method, f"{self.url}/{path}", body=body, headers=headers))

    def listen(self, path: str, token: str = TOKEN) -> websocket.WebSocket:
        """A WebSocket at a path below the server's URL, opened with a token as browsers can show it."""
        url = f"{self.url.replace('http', 'ws', 1)}/{path}?token={token}"
        return websocket.create_connection(url, timeout=30)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the server by a signal and wait for it."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
            self.process = None
