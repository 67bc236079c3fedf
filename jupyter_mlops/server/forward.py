"""On a hub: the service's API at the user's own server, as the user.

What is asked goes on to the service and its answer comes back, both as they stream. While the service is away, what was
read before is answered as it was then.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec
import tornado.web
import urllib3
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from jupyter_mlops.core import requestids
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import NotFound, Unavailable
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.core.values import short
from jupyter_mlops.server.identity import OWN_ARGUMENTS
from jupyter_mlops.service.handlers import LARGEST_BODY, ApiHandler, Service
from jupyter_mlops.service.receiving import LARGEST_UPLOAD
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.remote.client import CONNECT_SECONDS, READ_SECONDS, second_try

STALE_HEADER = "X-MLOps-Stale"
"""On an answer of an earlier time: its age in seconds."""
PIECE = 64 << 10
_PIECES = 16
"""Pieces of a body that wait for the service."""
_NOT_SENT = frozenset(
    "authorization connection content-length cookie expect forwarded host keep-alive origin proxy-authorization "
    "proxy-connection referer te trailer transfer-encoding upgrade x-forwarded-for x-forwarded-host x-forwarded-port "
    "x-forwarded-proto x-real-ip x-scheme x-xsrftoken".split()
)
"""Headers that are for this server, or for one connection; by what a name begins with, ``sec-`` are too."""
_NOT_ANSWERED = frozenset(
    "connection date keep-alive proxy-authenticate server set-cookie te trailer transfer-encoding upgrade "
    "www-authenticate".split()
)
_NOTHING = "there is nothing at this URL"
_LATER = (429, 502, 503, 504)
"""Answers that say nothing of what is there: what was answered before is as good."""
LARGEST_KEPT = 1 << 20
"""Bytes of an answer that is kept for when the service is away."""
MOST_KEPT = 32 << 20


class Answer(msgspec.Struct, frozen=True):
    """One that was given before."""

    at: float
    headers: list[tuple[str, str]]
    content: bytes


class Answers:
    """What was read of the service lately, for when it is away. In memory: it is gone with the server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Answer] = OrderedDict()
        self._size = 0

    def keep(self, key: tuple[Any, ...], answer: Answer) -> None:
        self.drop(key)
        self._kept[key] = answer
        self._size += len(answer.content)
        while self._size > MOST_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.content)

    def drop(self, key: tuple[Any, ...]) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._size -= len(found.content)

    def find(self, key: tuple[Any, ...]) -> Answer | None:
        return self._kept.get(key)


class Upstream:
    """The service, as this server's user.

    Parameters
    ----------
    url
        The service's own.
    token
        Gives the token to show it.
    executor
        Where its answers are waited for.
    """

    def __init__(self, url: str, token: Callable[[], str | None], executor: Executor) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.executor = executor
        self.answers = Answers()
        self._pool = urllib3.PoolManager(maxsize=8)

    def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | Iterator[bytes] | None,
        *,
        repeatable: bool,
    ) -> urllib3.BaseHTTPResponse:
        """The service's answer, its body still to be read. ``Unavailable`` when there is none, or somebody else's."""
        token = self.token()
        if token is not None:
            headers = {**headers, "Authorization": f"token {token}"}
        try:
            answer = self._pool.request(
                method,
                f"{self.url}/{path}",
                body=body,
                headers=headers,
                retries=second_try(repeatable=repeatable),
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
        except urllib3.exceptions.HTTPError as error:
            raise self.unavailable(str(getattr(error, "reason", None) or error)) from None
        if requestids.HEADER not in answer.headers:
            # A proxy in front of it, a login page, another program.
            answer.close()
            raise self.unavailable(f"something else answers {answer.status} in its place")
        return answer

    def unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the service {masked_url(self.url)} is away ({short(why, 200)}): what was read before is shown as it "
            "was then, and nothing can be changed until it is back; what notebooks log is kept here until then"
        )

    def close(self) -> None:
        self._pool.clear()


@tornado.web.stream_request_body
class ForwardHandler(ApiHandler):
    """Every request of the service's API."""

    def initialize(self, service: Service, upstream: Upstream) -> None:  # type: ignore[override]
        super().initialize(service)
        self.upstream = upstream
        searches = "/search/" in self.request.path
        write = Scope.WRITE
        self.scopes = {
            "GET": Scope.READ,
            "POST": Scope.READ if searches else write,
            **dict.fromkeys(("PUT", "PATCH", "DELETE"), write),
        }
        self._body: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)
        """Pieces of the body on their way to the service; None is its end."""
        self._sending: asyncio.Task[urllib3.BaseHTTPResponse] | None = None
        self._searched = bytearray()
        self._is_search = searches and self.request.method == "POST"
        self._away = False
        self._path: str | None = None

    async def prepare(self) -> None:
        self.request.connection.set_max_body_size(LARGEST_UPLOAD)  # type: ignore[union-attr]
        await super().prepare()
        if self._finished:
            return
        self._path = self._checked_path()
        if self._path is not None and not self._reads:
            # The service has the body as it comes.
            self._sending = asyncio.ensure_future(self._send(self._path, self._pieces()))
            self._sending.add_done_callback(self._sent)

    @property
    def _reads(self) -> bool:
        return self._is_search or self.request.method in ("GET", "HEAD")

    async def data_received(self, chunk: bytes) -> None:
        if self._finished:
            return
        if self._reads:
            self._searched += chunk
            if len(self._searched) > LARGEST_BODY:
                self.refuse(tornado.web.HTTPError(413))
        else:
            await self._offer(chunk)

    async def _offer(self, piece: bytes | None) -> None:
        """Give a piece of the body to the service, unless it has answered already or is away."""
        if self._sending is None:
            return
        putting = asyncio.ensure_future(self._body.put(piece))
        await asyncio.wait({putting, self._sending}, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()

    async def get(self) -> None:
        await self.answered(self._read())

    async def head(self) -> None:
        await self.answered(self._read())

    async def post(self) -> None:
        await self.answered(self._read() if self._is_search else self._write())

    async def put(self) -> None:
        await self.answered(self._write())

    async def patch(self) -> None:
        await self.answered(self._write())

    async def delete(self) -> None:
        await self.answered(self._write())

    async def _write(self) -> None:
        if self._sending is None:
            raise NotFound(_NOTHING)
        await self._offer(None)
        await self._pass_on(await self._sending)

    async def _read(self) -> None:
        if self._path is None:
            raise NotFound(_NOTHING)
        body = bytes(self._searched) or None
        key = (self._path, self.request.headers.get("Accept"), body)
        answers = self.upstream.answers
        try:
            answer = await self._send(self._path, body)
        except Unavailable:
            if not await self._give_again(answers.find(key)):
                raise
            return
        if answer.status in _LATER and await self._give_again(answers.find(key)):
            answer.close()
            return
        if 400 <= answer.status < 500 and answer.status != 429:
            answers.drop(key)
        await self._pass_on(answer, None if self.request.method == "HEAD" else key)

    async def _give_again(self, kept: Answer | None) -> bool:
        """Answer as it was answered before, marked as such; False when it was not."""
        if kept is None or self.request.method == "HEAD":
            return False
        for name, value in kept.headers:
            self.set_header(name, value)
        self.set_header(STALE_HEADER, str(int(time.monotonic() - kept.at)))
        await self.finish(kept.content)
        return True

    async def _send(self, path: str, body: bytes | Iterator[bytes] | None) -> urllib3.BaseHTTPResponse:
        headers = {
            name: value
            for name, value in self.request.headers.get_all()
            if name.lower() not in _NOT_SENT and not name.lower().startswith("sec-")
        }
        headers[requestids.HEADER] = self.request_id
        length = self.request.headers.get("Content-Length")
        if body is not None and length is not None:
            headers["Content-Length"] = length
        method, repeatable = str(self.request.method), self._reads
        return await self.call(lambda: self.upstream.send(method, path, headers, body, repeatable=repeatable))

    def _pieces(self) -> Iterator[bytes] | None:
        """The body, for the thread that sends it."""
        if not (self.request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.request.headers):
            return None
        loop = asyncio.get_running_loop()

        def pieces() -> Iterator[bytes]:
            while True:
                waiting = asyncio.run_coroutine_threadsafe(self._body.get(), loop)
                try:
                    piece = waiting.result(READ_SECONDS)
                except WaitedTooLong:
                    self._away = True
                if self._away:
                    # Breaks the connection to the service, which must not take a part for the whole.
                    raise ConnectionAbortedError("the body did not come to its end")
                if piece is None:
                    return
                yield piece

        return pieces()

    async def _pass_on(self, answer: urllib3.BaseHTTPResponse, key: tuple[Any, ...] | None = None) -> None:
        """Answer as the service did; keep that under ``key`` when it is a short record."""
        self.set_status(answer.status)
        for name, value in _answered(answer):
            self.set_header(name, value)
        kept = bytearray() if key is not None and answer.status == 200 and _is_record(answer) else None
        try:
            pieces = answer.stream(PIECE, decode_content=False)
            while (piece := await self.call(lambda: _next(pieces))) is not None:
                if self._away:
                    return
                if kept is not None:
                    kept += piece
                    kept = kept if len(kept) <= LARGEST_KEPT else None
                self.write(piece)
                await self.flush()
            if key is not None and kept is not None:
                self.upstream.answers.keep(key, Answer(time.monotonic(), _answered(answer), bytes(kept)))
            await self.finish()
        except StreamClosedError:
            # Whoever asked has gone, perhaps content with what there was.
            return
        except urllib3.exceptions.HTTPError as error:
            raise self.upstream.unavailable(str(error)) from error
        finally:
            # Read to its end, it has given its connection back already.
            answer.close()

    def on_connection_close(self) -> None:
        self._away = True
        while not self._body.empty():
            self._body.get_nowait()
        self._body.put_nowait(None)
        super().on_connection_close()

    def _sent(self, sending: asyncio.Task[urllib3.BaseHTTPResponse]) -> None:
        """Whatever the service answered, if nobody waits for it any more, is let go of."""
        if not sending.cancelled() and sending.exception() is None and self._away:
            sending.result().close()

    def _checked_path(self) -> str | None:
        """What to ask the service for, with the query but for what was for this server; None when that is not below
        its API."""
        path = self.request.path[len(self.settings["base_url"]) + len("mlops/") :]
        for part in path.split("/"):
            text = unquote(part, errors="replace")
            if text.strip(".") == "" or any(character in text for character in "/\\") or not text.isprintable():
                return None
        query = passed_query(self.request)
        return f"{path}?{query}" if query else path


def passed_query(request: HTTPServerRequest) -> str:
    """The query of a request but for what was for this server."""
    query = parse_qsl(request.query, keep_blank_values=True)
    return urlencode([(name, value) for name, value in query if name not in OWN_ARGUMENTS])


def _answered(answer: urllib3.BaseHTTPResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_ANSWERED]


def _is_record(answer: urllib3.BaseHTTPResponse) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip() in (wire.JSON, wire.MSGPACK)


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
