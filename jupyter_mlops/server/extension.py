"""The extension as Jupyter Server knows it: its settings, what it mounts, how it starts and stops."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Float, Int, default

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.execution.local import available_cpus
from jupyter_mlops.execution.queue import Queue
from jupyter_mlops.server import handlers
from jupyter_mlops.server.desk import Desk
from jupyter_mlops.server.documents import Documents
from jupyter_mlops.server.events import EventsForwardHandler
from jupyter_mlops.server.forward import ForwardHandler, Upstream
from jupyter_mlops.server.identity import HUB_USER, JupyterIdentity
from jupyter_mlops.server.keeper import Keeper
from jupyter_mlops.server.mlflowtoken import hand_over_token
from jupyter_mlops.server.spoolmetrics import SpoolMetrics
from jupyter_mlops.server.store import SETTING, LazyTracker
from jupyter_mlops.server.submission import Submitter
from jupyter_mlops.service.app import Route, mixed, routes
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.tracker import location
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.operations import EVENTS, PREFIX

MOST_RUNS = 8
"""Notebooks at once unless told; memory is rarely enough for more."""
BASE = "/mlops/"
_THREADS = 32
"""Requests that may wait for the store at once."""


class MLOpsExtension(ExtensionApp):
    """Experiment tracking and a model registry, served beside the notebooks."""

    name = "jupyter_mlops"
    load_other_extensions = True

    concurrent_runs = Int(
        min=1, help="Submitted notebooks that run at once. Default: one a core that the server may use, 8 at most."
    ).tag(config=True)
    activity_limit = Float(
        86400.0,
        min=0,
        help="How long a submitted run keeps an idle culler away from the server, in seconds from its start; 0: not at "
        "all.",
    ).tag(config=True)
    end_runs_with_server = Bool(
        True,
        help="Whether submitted runs end, as FAILED (server stopped), when the server is stopped in good order. "
        "Otherwise they go on while the machine does, and the next server sees to them. A server that crashes or is "
        "killed leaves them going on in any case.",
    ).tag(config=True)
    stop_seconds = Float(
        10.0, min=0, help="How long runs may take to end when the server is stopped, in seconds; then they are killed."
    ).tag(config=True)

    @default("concurrent_runs")
    def _default_concurrent_runs(self) -> int:
        return min(available_cpus(), MOST_RUNS)

    def initialize_settings(self) -> None:
        self.executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlops")
        self.url = location.absolute(location.default_url())
        self.tracker = LazyTracker(self.url, self.executor)
        hand_over_token(self.url)
        self.queue = Queue(jobs_folder(), limit=self.concurrent_runs, environment=self._worker_environment)
        self.settings[SETTING] = self.tracker
        self.spool_metrics = SpoolMetrics()

    def initialize_handlers(self) -> None:
        assert self.serverapp is not None
        activities = self.serverapp.web_app.settings["last_activity_times"]
        self.keeper = Keeper(self.tracker, self.queue, self.executor, activities, self.activity_limit)
        service = Service(cast(EmbeddedTracker, self.tracker), JupyterIdentity(), self.executor)
        desk = Desk(
            tracker=self.tracker,
            queue=self.queue,
            submitter=Submitter(self.queue, self.url, self.concurrent_runs),
            documents=Documents(self.serverapp),
            executor=self.executor,
            url=self.url,
            limit=self.concurrent_runs,
            ends_with_server=self.end_runs_with_server,
            changed=self.keeper.wake,
        )
        self.handlers.extend(handlers.routes(service, desk, BASE))
        if location.is_service(self.url):
            self.upstream = Upstream(self.url, partial(location.token_for, self.url), self.executor)
            self.handlers.extend(forwarding(service, self.upstream))
        else:
            self.handlers.extend(routes(service, BASE))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:  # noqa: ARG002 - as Jupyter calls it
        if not self.queue.is_idle:
            # Workers of an earlier server go on; they read the token where that left it.
            self._hand_over_token()
        self.keeper.start()
        self.spool_metrics.start()

    async def stop_extension(self) -> None:
        try:
            self.spool_metrics.stop()
            await self.keeper.stop()
            if self.end_runs_with_server and self.queue.working_since():
                await self._end_runs()
                self._token_file.unlink(missing_ok=True)
            self.tracker.close()
        except Exception:
            # What an extension raises here keeps the server from stopping.
            self.log.exception("jupyter_mlops did not stop in good order")
        self.executor.shutdown(wait=False, cancel_futures=True)

    async def _end_runs(self) -> None:
        self.log.info("Ending the submitted runs")
        loop = asyncio.get_running_loop()
        try:
            tracker = await self.tracker.opened()
            await loop.run_in_executor(self.executor, self.queue.stop, tracker, self.stop_seconds)
        except MLOpsError as error:
            self.log.warning("The end of submitted runs will be recorded by the next server: %s", error.message)

    @property
    def _token_file(self) -> Path:
        return self.queue.folder / "token"

    def _worker_environment(self) -> Mapping[str, str]:
        environment = {**os.environ, location.TRACKING_URL: self.url}
        if self._hand_over_token():
            environment[location.TRACKING_TOKEN_FILE] = str(self._token_file)
            environment.pop(location.TRACKING_TOKEN, None)
        return environment

    def _hand_over_token(self) -> bool:
        """Leave the token for the service where workers read it; False when none is needed."""
        token = location.token_for(self.url) if location.is_service(self.url) else None
        if token is None:
            return False
        location.make_private(self._token_file.parent)
        partial = self._token_file.with_name(f".token.{os.getpid()}.tmp")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)
        partial.replace(self._token_file)
        return True


def forwarding(service: Service, upstream: Upstream) -> list[Route]:
    """The routes of a service's API that go on to the service."""
    base = BASE + PREFIX
    return [
        (pattern, mixed(handler, service), {"service": service, "upstream": upstream})
        for pattern, handler in ((base + EVENTS, EventsForwardHandler), (f"{base}.*", ForwardHandler))
    ]


def jobs_folder() -> Path:
    """Where this server's jobs are. Servers that may be up at once without seeing each other's processes, because they
    are on several hosts, have folders of their own."""
    if HUB_USER in os.environ:
        key = f"server-{quote(os.environ.get('JUPYTERHUB_SERVER_NAME') or 'default', safe='')}"
    else:
        key = f"host-{quote(socket.gethostname(), safe='')}"
    return location.home() / "jobs" / key
