"""Calls to a service: connections that are kept, answers as records, failures as this project's errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3

from jupyter_mlops._version import __version__
from jupyter_mlops.core import requestids
from jupyter_mlops.core.errors import (
    InvalidValue,
    MLOpsError,
    NotFound,
    TooManyRequests,
    TrackerClosed,
    Unauthenticated,
    Unavailable,
)
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.core.values import short
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.operations import PREFIX, Operation
from jupyter_mlops.tracker.remote.links import LINKS_HEADER, Links, pool_for

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""How long a silence of the service may be."""
DIGEST_HEADER = "X-Content-SHA256"
"""With the whole of a file, and with what is sent: its SHA-256, in hex."""
BYTES = "application/octet-stream"
"""What files are sent as."""
PATIENCE_SECONDS = 60.0
"""For how long a service is asked again that is asked too often."""

_MOST_DIGITS = 9

Query = Mapping[str, Any]
Token = str | Callable[[], str | None] | None

T = TypeVar("T")


def second_try(*, repeatable: bool) -> urllib3.Retry:
    """What is done again, once: a connection that could not be made; and one that broke before an answer came, of what
    may be asked twice. What the service answers is for the caller to read, whatever it is."""
    return urllib3.Retry(
        total=1,
        connect=1,
        # A connection that was kept may have been closed meanwhile.
        read=int(repeatable),
        other=0,
        redirect=0,
        status=0,
        allowed_methods=None,
        respect_retry_after_header=False,
    )


class Client:
    """One service, as one caller. Thread-safe; not to be carried across a fork.

    Parameters
    ----------
    url
        The service's own URL.
    token
        Sent as ``Authorization: token ...``; nothing is sent when None. One that may be replaced while the client
        lives is given as a function, which is asked at each call.

    Raises
    ------
    InvalidValue
        The URL is not one of a service.
    """

    def __init__(self, url: str, token: Token) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise InvalidValue(
                f"{short(masked_url(url), 200)} is no URL of a service; write https://host/services/mlops, or "
                "http://127.0.0.1:PORT"
            )
        if parts.username is not None or parts.password is not None:
            raise InvalidValue(
                f"{short(masked_url(url), 200)}: a password does not belong into the URL; set MLOPS_TRACKING_TOKEN"
            )
        self.url = url.rstrip("/")
        self._headers = {"Accept": wire.MSGPACK, "User-Agent": f"jupyter-mlops/{__version__}"}
        self._token = token
        self._pid = os.getpid()
        self._pool: urllib3.PoolManager | None = pool_for(parts.scheme, parts.hostname)
        self._links = Links(parts.scheme)

    def call(self, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """Have the service do ``operation``; gives its answer."""
        path = filled(operation.path, **{name: arguments[name] for name in operation.in_path})
        rest = {name: value for name, value in arguments.items() if name not in operation.in_path}
        body = wire.encode(rest, wire.MSGPACK) if operation.has_body else None
        # What carries its position in a stream, or changes nothing, may be sent again.
        repeatable = operation.method == "GET" or rest.get("position") is not None
        answer = self.send(operation.method, path, {} if operation.has_body else rest, body, repeatable=repeatable)
        if operation.answer is not type(None):
            return self.read(answer, operation.answer)
        if answer.status != 204:
            raise self._failure(answer)
        return None

    def read(self, answer: urllib3.BaseHTTPResponse, kind: type[T]) -> T:
        """The record in an answer; ``Unavailable`` when there is none of this ``kind``."""
        try:
            return msgspec.msgpack.decode(answer.data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"{self.url} answers what this version does not understand: {error}") from error

    def send(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] = MappingProxyType({"Content-Type": wire.MSGPACK}),
        repeatable: bool = False,
        stream: bool = False,
        links: bool = False,
        silence: float = READ_SECONDS,
    ) -> urllib3.BaseHTTPResponse:
        """The service's answer to a request below its API, when it is a good one: a record, or nothing. With ``stream``
        it is bytes, still to be read, and the answer is to be closed; with ``links`` it may be where they are instead
        (307). ``headers`` are those of a body; ``silence`` is in seconds.

        Raises
        ------
        MLOpsError
            What the service answered; ``Unavailable`` when it did not, or somebody else did. A service that is asked
            too often is asked again after the time that it says, for :data:`PATIENCE_SECONDS` at most.
            An error has the id under which the service's log knows the request.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        asked = {
            **(headers if body is not None else {}),
            **({LINKS_HEADER: "follow"} if links else {}),
            requestids.HEADER: new_id(),
        }
        while True:
            answer = self._answer(method, path, query, body, asked, repeatable, stream, silence)
            # A login page, too, is answered with 200: taken for an answer, what was sent would be lost.
            kind = BYTES if stream else wire.MSGPACK
            named = answer.headers.get("Content-Type", "").startswith(kind)
            if (answer.status == 204 and not stream) or (200 <= answer.status < 300 and named):
                return answer
            if links and answer.status == 307 and "Location" in answer.headers:
                return answer
            # What was refused for coming too soon was not done, so that it may always be sent again.
            wait = _retry_after(answer) if answer.status == 429 else None
            if wait is None or time.monotonic() + wait > until:
                raise _identified(self._failure(answer), asked)
            answer.drain_conn()
            answer.release_conn()
            time.sleep(wait)

    def _answer(
        self,
        method: str,
        path: str,
        query: Query,
        body: bytes | None,
        headers: Mapping[str, str],
        repeatable: bool,
        stream: bool,
        silence: float,
    ) -> urllib3.BaseHTTPResponse:
        pool = self._usable_pool()
        url = f"{self.url}/{PREFIX}{path}"
        if query:
            url += "?" + _encoded(query)
        try:
            return pool.request(
                method,
                url,
                body=body,
                headers={**self._headers, **self._authorization(), **headers},
                retries=second_try(repeatable=repeatable),
                redirect=False,
                preload_content=not stream,
                # Nothing compressed was asked for, and what comes all the same may be much more than it looks.
                decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=silence),
            )
        except urllib3.exceptions.HTTPError as error:
            raise _identified(self.unavailable(error), headers) from error

    def fetch(self, path: str, query: Query) -> tuple[urllib3.BaseHTTPResponse, str | None]:
        """The answer with the bytes of a file, still to be read, from the service or from where it leads; and what
        their SHA-256 should be, in hex, when they are all of the file. Raises as :meth:`send` does."""
        answer = self.send("GET", path, query, repeatable=True, stream=True, links=self._links.usable)
        digest = answer.headers.get(DIGEST_HEADER)
        if answer.status == 307:
            answer.release_conn()
            # What cannot be compared is not taken from a third party.
            bytes_there = None if digest is None else self._links.follow(answer.headers["Location"])
            if bytes_there is not None:
                return bytes_there, digest
            answer = self.send("GET", path, query, repeatable=True, stream=True)
        return answer, answer.headers.get(DIGEST_HEADER)

    def unavailable(self, error: Exception) -> Unavailable:
        """What it means that a connection failed."""
        cause = getattr(error, "reason", None) or error
        return Unavailable(f"{self.url} does not answer: {short(str(cause), 300)}")

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and os.getpid() == self._pid:
            pool.clear()
            self._links.close()

    def _usable_pool(self) -> urllib3.PoolManager:
        if self._pool is None:
            raise TrackerClosed(f"{self.url} was closed; open it again with connect()")
        if os.getpid() != self._pid:
            raise TrackerClosed(
                f"{self.url} was opened by process {self._pid}, of which this process is a fork; "
                "open a tracker of its own here with connect()"
            )
        return self._pool

    def _authorization(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {} if token is None else {"Authorization": f"token {token}"}

    def _failure(self, answer: urllib3.BaseHTTPResponse) -> MLOpsError:
        try:
            content = answer.data
        except urllib3.exceptions.HTTPError as error:
            return self.unavailable(error)
        finally:
            answer.release_conn()
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith(wire.JSON) and answer.status >= 400:
            try:
                return wire.raised(msgspec.json.decode(content, type=wire.Problem))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
        # Nothing that the service itself answers: a proxy in front of it, a login page, another program.
        if answer.status == 413:
            # Sent again, it would be as large.
            return InvalidValue(
                f"{self.url} answers 413: this is more at once than a proxy in front of the service takes; its limit "
                "(of nginx: client_max_body_size) should be 32 MB"
            )
        if answer.status == 429:
            return TooManyRequests(f"{self.url} is asked too often; something in front of the service says so")
        if answer.status in (401, 403):
            return Unauthenticated(f"{self.url} answers {answer.status}: set MLOPS_TRACKING_TOKEN to a token for it")
        return Unavailable(
            f"{self.url} answers {answer.status} {answer.reason or ''}".rstrip()
            + ", but not as a jupyter-mlops service: it may be starting, or the URL may be wrong"
        )


def _identified(error: MLOpsError, headers: Mapping[str, str]) -> MLOpsError:
    """The error of a request that had such headers, with its id unless the service has told another."""
    error.request_id = error.request_id or headers[requestids.HEADER]
    return error


def filled(path: str, **values: str | int) -> str:
    """The path of an operation with its parameters in place."""
    for name, value in values.items():
        if value == "":
            raise InvalidValue("a name is not empty") if name == "name" else NotFound(f"{name} is empty")
    # A part that is only dots would be taken for a step up.
    return path.format(**{name: quote(str(value), safe="").replace(".", "%2E") for name, value in values.items()})


def _retry_after(answer: urllib3.BaseHTTPResponse) -> float:
    """After how many seconds to ask again; one that gives no number is asked after a second."""
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isascii() and given.isdigit() and len(given) < _MOST_DIGITS else 1.0


def _encoded(query: Query) -> str:
    """The query as it stands in a URL; what is None is left out."""
    pairs = []
    for name, value in query.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if item is not None:
                pairs.append((name, _word(item)))
    try:
        return urlencode(pairs)
    except UnicodeEncodeError as error:
        raise InvalidValue(f"a text cannot be sent: {error}") from error


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value if isinstance(value, Enum) else value)
