"""A real service on a free port of this machine, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tornado.netutil import bind_sockets

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.service.app import Route, make_app
from jupyter_mlops.service.handlers import Service
from jupyter_mlops.service.server import Server
from jupyter_mlops.service.storedtokens import StoredTokens, of_checks, with_stored_tokens
from jupyter_mlops.service.tokens import Grant, TokenFile, create_token
from jupyter_mlops.tracker.connect import connect
from tests.waiting import DEADLINE


class Running:
    """A service that runs; ``token`` makes a new one for it."""

    def __init__(self, url: str, tokens: Path) -> None:
        self.url = url
        self._tokens = tokens

    def token(self, user: str, *groups: str, scope: str = "write", expires: int | None = None) -> str:
        return create_token(self._tokens, Grant(user=user, groups=groups, scope=scope, expires=expires))

    def token_of(self, principal: Principal) -> str:
        """A token that stands for exactly this principal."""
        grant = Grant(
            user=principal.name,
            groups=tuple(sorted(principal.groups)),
            scope=principal.scope.name.lower(),
            group_scopes={group: scope.name.lower() for group, scope in principal.group_scopes},
            decides=principal.decides,
            default_owner=principal.default_owner,
            acts_for=principal.acts_for,
        )
        return create_token(self._tokens, grant)


@contextmanager
def running(
    database_url: str,
    artifacts: Path | str,
    folder: Path,
    port: int = 0,
    find_job: Callable[[str], Principal | None] | None = None,
    page: ServicePage | None = None,
    more: Callable[[Service], list[Route]] = lambda _: [],
    link_seconds: int = 0,
    requests_per_second: float = 0.0,
) -> Iterator[Running]:
    """A service over the store, until the block ends; ``folder`` is for its files. ``find_job`` gives the principal of
    a check's token by its digest; the store does when it is None. ``page`` is where people are said to see it,
    and ``more`` gives further routes. ``link_seconds`` is as in the service."""
    tokens = folder / "tokens.json"
    create_token(tokens, Grant(user="nobody", scope="read"))
    tracker = connect(database_url, artifacts=artifacts, principal=Principal("service", scope=Scope.ADMIN))
    ready, ports = threading.Event(), []
    loop = asyncio.new_event_loop()

    async def serve(executor: ThreadPoolExecutor, stopped: asyncio.Event) -> None:
        identity = with_stored_tokens(TokenFile(tokens), tracker, executor)  # type: ignore[arg-type]
        if find_job is not None:
            identity = StoredTokens(TokenFile(tokens), executor, [of_checks(find_job)])
        service = Service(
            tracker,  # type: ignore[arg-type]
            identity,
            executor,
            page,
            link_seconds=link_seconds,
            requests_per_second=requests_per_second,
        )
        server = Server(make_app(service, more=more(service)))
        sockets = bind_sockets(port, "127.0.0.1")
        server.add_sockets(sockets)
        ports.append(sockets[0].getsockname()[1])
        ready.set()
        await stopped.wait()
        server.stop()
        await server.close_all_connections()

    stopped = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with ThreadPoolExecutor(32) as executor:
            loop.run_until_complete(serve(executor, stopped))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        yield Running(f"http://127.0.0.1:{ports[0]}", tokens)
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        tracker.close()
