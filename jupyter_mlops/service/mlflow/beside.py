"""MLflow's client in the kernel of a notebook run: where it tracks to, so that what it logs is in that run.

With a service, that is the service. With an embedded store, the runner answers in MLflow's words itself, on a port of
this machine that asks for a token which only the kernel has. Nothing of that is imported before a client calls.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import select
import socket
import threading
from collections.abc import Mapping

from jupyter_mlops.tracker.location import is_service, token_for
from jupyter_mlops.tracker.protocol import Tracker

TRACKING_URI, TRACKING_TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"
_QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""At the end of each run a client prints where MLflow's own pages would be."""
_HOST = "127.0.0.1"
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_DRAIN_SECONDS = 5.0

logger = logging.getLogger("jupyter_mlops.mlflow")


def within(url: str, run_id: str, *, named: bool) -> str:
    """Where a client inside a run tracks to, by the URL of a service."""
    return f"{url.rstrip('/')}/within/{run_id}{'/named' if named else ''}"


class Beside:
    """What a kernel's MLflow client is told, and answered.

    Parameters
    ----------
    run_id
        The notebook run.
    named
        Whether its name was chosen, so that its code does not rename it.
    tracking_url
        Where it is recorded.
    """

    def __init__(self, run_id: str, *, named: bool, tracking_url: str) -> None:
        self.environment: Mapping[str, str] = {}
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._is_called = False
        self._is_service = is_service(tracking_url)
        chosen = os.environ.get(TRACKING_URI, "")
        if self._is_service:
            if chosen.rstrip("/") in ("", tracking_url.rstrip("/")):
                token = token_for(tracking_url)
                self.environment = {TRACKING_URI: within(tracking_url, run_id, named=named), **_QUIET}
                self.environment |= {TRACKING_TOKEN: token} if token else {}
            return
        if chosen:
            # Another server, which somebody tracks to on purpose.
            return
        try:
            self._socket = socket.create_server((_HOST, 0), backlog=128)
        except OSError as error:
            logger.warning("MLflow in the notebook is not recorded: no port of this machine can be had: %s", error)
            return
        self._token = secrets.token_urlsafe(32)
        url = f"http://{_HOST}:{self._socket.getsockname()[1]}"
        self.environment = {
            TRACKING_URI: within(url, run_id, named=named),
            TRACKING_TOKEN: self._token,
            **_QUIET,
            **_directly(),
        }
        # A byte in it is the end.
        self._ended, self._end = socket.socketpair()

    @property
    def may_have_begun_runs(self) -> bool:
        # What a service was asked is not known here.
        return self._is_called or self._is_service

    def open(self, tracker: Tracker) -> None:
        """Answer from ``tracker``; clients that called before have waited."""
        if self._socket is not None:
            self._thread = threading.Thread(target=self._wait, args=(tracker,), name="mlops-mlflow", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Answer what was asked, and nothing more; may be called again."""
        if self._socket is None:
            return
        self._end.send(b".")
        if self._thread is not None:
            self._thread.join()
        for each in (self._socket, self._ended, self._end):
            each.close()
        self._socket = None

    def _wait(self, tracker: Tracker) -> None:
        assert self._socket is not None
        called, _, _ = select.select([self._socket, self._ended], [], [])
        if self._ended not in called:
            self._is_called = True
            asyncio.run(self._answer(tracker))

    async def _answer(self, tracker: Tracker) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from jupyter_mlops.service.app import make_dialect
        from jupyter_mlops.service.handlers import Service
        from jupyter_mlops.service.server import Server
        from jupyter_mlops.service.tokens import OneToken

        assert self._socket is not None
        with ThreadPoolExecutor(4, "mlops-mlflow") as executor:
            service = Service(tracker, OneToken(self._token, tracker.principal), executor)  # type: ignore[arg-type]
            server = Server(make_dialect(service))
            self._socket.setblocking(False)
            server.add_sockets([self._socket])
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(self._ended, ended.set)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(self._ended)
            await server.drain(_DRAIN_SECONDS)


def _directly() -> dict[str, str]:
    """What has clients call this machine without a proxy, where they would use one."""
    if not any(os.environ.get(name) for name in _PROXIES):
        return {}
    without = {name: os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    return {name: f"{value},{_HOST}" if value else _HOST for name, value in without.items()}
