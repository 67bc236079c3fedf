"""What a serving process does: it opens the store, answers requests, and stops without cutting off who was heard."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.addresses import networks
from jupyter_mlops.core.errors import InvalidValue, MissingDependency
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.service.app import make_app
from jupyter_mlops.service.delivery import Couriers
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.mail import Mail
from jupyter_mlops.service.maintenance import Maintenance
from jupyter_mlops.service.sealing import seal_regularly
from jupyter_mlops.service.server import Application, Server
from jupyter_mlops.service.storedtokens import with_stored_tokens
from jupyter_mlops.service.tokens import TokenFile
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

if TYPE_CHECKING:
    from jupyter_mlops.hub.application import MLOpsService
    from jupyter_mlops.hub.identity import HubIdentity

_DRAIN_SECONDS = 7.0
_OPEN_FILES = 16_384
_OWN_FILES = 256
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Serving:
    """One process's service.

    Parameters
    ----------
    settings
        What it serves, and how.
    stop_seconds
        How long it may take to stop.

    Raises
    ------
    MLOpsError
        The settings cannot be accepted, or the store cannot be opened.
    """

    def __init__(self, settings: MLOpsService, stop_seconds: float) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        # Set where a hub says who callers are.
        self._hub: HubIdentity | None = None
        self._identity = self._make_identity()
        self._networks = networks(settings.webhook_networks)
        self._mail = self._make_mail()
        self._tracker = self._open_tracker()
        self._tracker.ask_members(self._identity.members)

    def run(self, sockets: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        """Answer at the sockets until SIGINT or SIGTERM; ``ready`` is called as soon as it does."""
        try:
            asyncio.run(self._serve(sockets, ready))
        finally:
            self._tracker.close()

    def _make_identity(self) -> TokenFile | HubIdentity:
        if self._settings.tokens_file:
            return TokenFile(Path(self._settings.tokens_file).expanduser())
        missing = [name for name in ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_API_URL") if not os.environ.get(name)]
        if missing:
            raise InvalidValue(f"a service of a hub needs {' and '.join(missing)} in its environment")
        try:
            from jupyter_mlops.hub.identity import HubIdentity
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"a service of a hub needs the package {error.name!r}: pip install 'jupyter-mlops[hub]'"
            ) from error
        self._hub = HubIdentity(self._settings.base_url, parent=self._settings)
        return self._hub

    def _make_mail(self) -> Mail | None:
        settings = self._settings
        if not settings.smtp_url:
            return None
        password = os.environ.get("MLOPS_SMTP_PASSWORD", "")
        return Mail(settings.smtp_url, settings.mail_from, settings.mail_domains, password)

    def _open_tracker(self) -> EmbeddedTracker:
        url = self._settings.db_url
        if url.startswith(("http://", "https://")):
            raise InvalidValue(
                f"{masked_url(url)} is a service itself; this one needs a database: --db postgresql://..."
            )
        opened = connect(
            url,
            artifacts=self._settings.artifacts_url or None,
            principal=Principal(self._settings.name, scope=Scope.ADMIN),
            # The writer of runs has a thread of its own.
            connections=self._settings.threads + 1,
        )
        assert isinstance(opened, EmbeddedTracker)
        return opened

    async def _serve(self, sockets: Sequence[socket.socket], ready: Callable[[], None]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, stop.set)
        executor = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="request")
        identity = with_stored_tokens(self._identity, self._tracker, executor)
        service = Service(
            self._tracker,
            identity,
            executor,
            self._page(),
            link_seconds=self._settings.link_seconds,
            requests_per_second=self._settings.requests_per_second,
        )
        server = Server(
            self._make_app(service),
            behind_proxy=self._hub is not None,
            request_seconds=self._settings.request_seconds,
            max_connections=min(self._settings.max_connections, _allowed_connections()),
            max_body_bytes=self._settings.max_body_bytes,
        )
        server.add_sockets(sockets)
        log = self._settings.log
        if self._settings.tokens_file and self._settings.ip not in _LOOPBACK:
            log.warning("tokens come to %s unencrypted: put a proxy with TLS in front", self._settings.url)
        ready()
        beside = [
            asyncio.create_task(
                Maintenance(
                    service,
                    self._settings.lost_after_seconds,
                    collect_after_days=self._settings.collect_after_days,
                ).run()
            ),
            asyncio.create_task(Couriers(service, self._networks, self._mail).run()),
            asyncio.create_task(seal_regularly(service)),
        ]
        if self._hub is not None:
            beside.append(asyncio.create_task(self._hub.check()))
        await stop.wait()
        for task in beside:
            task.cancel()
        self._end_in_time()
        left = await server.drain(_DRAIN_SECONDS)
        if left:
            log.warning("%d requests were cut off: they took longer than %g s", left, _DRAIN_SECONDS)
        executor.shutdown(wait=False, cancel_futures=True)

    def _make_app(self, service: Service) -> Application:
        base = self._settings.base_url
        log_requests = self._settings.log_json
        if self._hub is None:
            return make_app(service, base, log_requests=log_requests)
        from jupyter_mlops.hub.pages import pages

        return make_app(service, base, pages(self._hub, service, base), log_requests=log_requests, **self._hub.settings)

    def _page(self) -> ServicePage | None:
        if self._hub is None:
            return None
        public = self._settings.public_url
        url = f"{public.rstrip('/')}/" if public else self._settings.base_url
        return ServicePage(url=url, protected=self._hub.has_own_host)

    def _end_in_time(self) -> None:
        """What hangs (a database that is away) must not keep the process: all that was acknowledged is durable."""
        timer = threading.Timer(self._stop_seconds - 0.5, os._exit, (1,))
        timer.daemon = True
        timer.start()


def _allowed_connections() -> int:
    """Each connection is an open file, of which a process may have only some 1,000 by default: have more allowed, and
    give their number, but for those that the store needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted if soft == resource.RLIM_INFINITY else max(soft, wanted), 2 * _OWN_FILES) - _OWN_FILES
