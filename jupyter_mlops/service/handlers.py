"""Requests: who asks, what they ask, the tracker's answer. Handlers hold no rules; see :mod:`..tracker.operations`."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from itertools import count
from math import ceil
from types import MappingProxyType, NoneType
from typing import Any, TypeVar, cast

import msgspec
from tornado.web import HTTPError, RequestHandler

from jupyter_mlops.core import requestids
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import (
    InvalidValue,
    MLOpsError,
    NotFound,
    PermissionDenied,
    TooManyRequests,
    Unavailable,
)
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.values import short
from jupyter_mlops.service.identity import Identity
from jupyter_mlops.service.metrics import ServiceMetrics
from jupyter_mlops.service.rates import Rates
from jupyter_mlops.service.requestlog import CURRENT, path_of
from jupyter_mlops.service.wakeups import Wakeups
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.embedded import EmbeddedTracker, RunCalls
from jupyter_mlops.tracker.operations import Operation

logger = logging.getLogger("jupyter_mlops.service")

T = TypeVar("T")

LARGEST_BODY = 32 << 20
"""Bytes of a request that is no upload."""
QUICKLY_READ = 16 << 10
"""Bytes that are decoded and checked in less time than another thread takes to begin."""


class Service:
    """What all handlers of one server share.

    Parameters
    ----------
    tracker
        The store, as an administrator; each caller sees it as themselves.
    identity
        Says who calls.
    executor
        Where the tracker is called: it waits for a database, which the event loop must not.
    page
        Where people see what is here; None when only programs do.
    link_seconds
        How long a link to the object store may be used, which is then given to who can follow it; 0: none is.
    requests_per_second
        How many requests each caller may make; 0 for any number.
    """

    def __init__(
        self,
        tracker: EmbeddedTracker,
        identity: Identity,
        executor: Executor,
        page: ServicePage | None = None,
        *,
        link_seconds: int = 0,
        requests_per_second: float = 0.0,
    ) -> None:
        self.tracker = tracker
        self.identity = identity
        self.executor = executor
        self.page = page
        self.link_seconds = link_seconds
        self.no_links_until = 0.0
        """In seconds of the monotonic clock; set where no link could be signed."""
        self.rates = Rates(requests_per_second)
        self.metrics = ServiceMetrics(tracker, executor)
        self._written = Wakeups()
        self._own_ids = new_id()[:20]
        self._requests = count()

    def new_request_id(self) -> str:
        """Another one, unique among all services."""
        return f"{self._own_ids}{next(self._requests):012x}"

    async def call(self, function: Callable[[], T]) -> T:
        """What ``function`` gives, called where waiting is allowed."""
        # With the context: what is logged there knows its request.
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self.executor, run, function)

    async def write(self, call: RunCall) -> None:
        """Return once ``call`` is durable; raises what made it fail."""
        written, done = self._written.expect()
        self.tracker.writer.enqueue(call, done)
        await written
        if call.error is not None:
            raise call.error


class DiscreetHandler(RequestHandler):
    """Logs errors without the query and the headers of their requests, in which people put secrets."""

    def log_exception(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, HTTPError) and error.status_code < 500:
            logger.debug("%d %s %s", error.status_code, self.request.method, path_of(self.request))
        else:
            where = (self.request.method, path_of(self.request))
            logger.error("%s %s failed", *where, exc_info=(kind, error, traceback))  # type: ignore[arg-type]


class ApiHandler(DiscreetHandler):
    """Base of the API's handlers, mixed with the identity's own class. ``scopes`` says by HTTP method what a credential
    must have at least; a method that is not there is not answered."""

    scopes: Mapping[str, Scope] = MappingProxyType({})
    service: Service

    def initialize(self, service: Service) -> None:
        self.service = service
        self.request_id = requestids.accepted(self.request.headers.get(requestids.HEADER)) or service.new_request_id()
        self.set_header(requestids.HEADER, self.request_id)
        self.principal: Principal | None = None

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    @property
    def operation_id(self) -> str:
        """What the request is counted as."""
        return type(self).__name__.removesuffix("Handler").lower()

    @property
    def decides(self) -> bool:
        """Whether the request decides for others."""
        return False

    def on_finish(self) -> None:
        self.service.metrics.answered(self.operation_id, self.get_status(), self.request.request_time())

    async def prepare(self) -> None:
        CURRENT.set(self.request_id)
        try:
            waiting = super().prepare()
            if waiting is not None:
                await waiting
            if self._finished:
                return
            method = str(self.request.method)
            # HEAD asks for less than GET.
            required = self.scopes.get("GET" if method == "HEAD" else method)
            if required is None:
                raise HTTPError(405)
            if required is Scope.NONE:
                return
            principal = await self.service.identity.principal(self, fresh=self.decides)
            if principal.widest < required:
                raise PermissionDenied(f"this needs the scope {required.name.lower()!r}, which your token lacks")
            wait = self.service.rates.wait(principal.name)
            if wait:
                raise TooManyRequests(
                    f"{principal.name!r} asks more than {self.service.rates.per_second:g} times a second: ask again "
                    f"after {wait:.1f} s, or send more at once",
                    wait,
                )
            self.principal = principal
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            self.refuse(error)

    @property
    def tracker(self) -> EmbeddedTracker:
        """The store as the caller sees it."""
        assert self.principal is not None, "asked before the caller was known"
        return self.service.tracker.acting_for(self.principal)

    def query(self) -> dict[str, str]:
        """The words of the query by name, exactly as they were sent; ``InvalidValue`` when one is given twice."""
        given: dict[str, str] = {}
        for name, values in self.request.query_arguments.items():
            if len(values) > 1:
                raise InvalidValue(f"the query gives {name[:100]!r} more than once")
            given[name] = self.decode_argument(values[0], name)
        return given

    def asked(self, name: str) -> str:
        """A word of the query; ``InvalidValue`` when it is not there."""
        word = self.query().get(name)
        if word is None:
            raise InvalidValue(f"the query has no {name!r}, which is needed here")
        return word

    async def call(self, function: Callable[[], T]) -> T:
        """What ``function`` gives, called where waiting is allowed."""
        return await self.service.call(function)

    async def answered(self, answer: Awaitable[None]) -> None:
        """Await an answer; an error becomes one."""
        try:
            await answer
        except Exception as error:  # noqa: BLE001 - each becomes an answer
            self.refuse(error)

    def give(self, value: Any) -> None:
        """Answer with a small record, or with nothing."""
        self.send(self.encoded(value))

    def encoded(self, value: Any) -> bytes | None:
        """A record in the form that the caller accepts; None for nothing."""
        return None if value is None else wire.encode(value, self._accepted)

    def send(self, content: bytes | None) -> None:
        """Answer with what is :meth:`encoded`."""
        if content is None:
            self.set_status(204)
            self.finish()
            return
        self.set_header("Content-Type", self._accepted)
        self.finish(content)

    @property
    def _accepted(self) -> str:
        return wire.MSGPACK if wire.MSGPACK in self.request.headers.get("Accept", "") else wire.JSON

    def refuse(self, error: Exception) -> None:
        """Answer with an error: ours as it is, another as an internal one, of which only the log tells more."""
        known = _known(error)
        no_such_method = isinstance(error, HTTPError) and error.status_code == 405
        if no_such_method:
            known = InvalidValue(f"this URL is for {self._allowed or 'nothing'}, not for {short(self.request.method)}")
        if known.http_status >= 500:
            where = (self.request_id, self.request.method, path_of(self.request))
            logger.error("request %s: %s %s", *where, exc_info=error)
        if self._headers_written:
            # Too late to say so: what was sent is left incomplete, which the client notices.
            self.request.connection.stream.close()  # type: ignore[union-attr]
            return
        self.clear()
        self.set_header(requestids.HEADER, self.request_id)
        self.set_status(error.status_code if isinstance(error, HTTPError) else known.http_status)
        if no_such_method:
            self.set_header("Allow", self._allowed)
        if known.http_status in (429, 503):
            wait = known.after if isinstance(known, TooManyRequests) else 1.0
            self.set_header("Retry-After", str(ceil(wait)))
        self.set_header("Content-Type", wire.JSON)
        self.finish(self.told(known))

    @property
    def _allowed(self) -> str:
        """The methods of this URL, as the header Allow lists them."""
        head = ["HEAD"] if "GET" in self.scopes and type(self).head is not RequestHandler.head else []
        return ", ".join(sorted([*self.scopes, *head]))

    def told(self, error: MLOpsError) -> bytes:
        """What is answered for an error, as JSON."""
        return wire.encode(wire.problem(error, self.request_id), wire.JSON)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Also what tornado itself refuses is answered in our form."""
        self.refuse(kwargs["exc_info"][1] if "exc_info" in kwargs else HTTPError(status_code))


def _known(error: Exception) -> MLOpsError:
    if isinstance(error, MLOpsError):
        return error
    if isinstance(error, HTTPError):
        text = error.log_message or f"{error.status_code} {error.reason or ''}".strip()
        if error.status_code == 404:
            return NotFound("there is nothing at this URL")
        if error.status_code == 403:
            return PermissionDenied(text)
        return InvalidValue(text) if error.status_code < 500 else Unavailable(text)
    return MLOpsError("the service failed; its log tells more under this request's id")


class MethodsHandler(ApiHandler):
    """Base of handlers that do at one path what a table has for each HTTP method."""

    async def get(self, **parts: str) -> None:
        await self.answered(self.operate("GET", parts))

    async def post(self, **parts: str) -> None:
        await self.answered(self.operate("POST", parts))

    async def patch(self, **parts: str) -> None:
        await self.answered(self.operate("PATCH", parts))

    async def delete(self, **parts: str) -> None:
        await self.answered(self.operate("DELETE", parts))

    async def operate(self, method: str, parts: dict[str, str]) -> None:
        """Answer; ``parts`` are what the path names."""
        raise NotImplementedError


class OperationHandler(MethodsHandler):
    """The operations at one path, by HTTP method."""

    def initialize(self, service: Service, operations: dict[str, Operation]) -> None:  # type: ignore[override]
        super().initialize(service)
        self.operations = operations
        self.scopes = {method: operation.scope for method, operation in operations.items()}

    @property
    def operation_id(self) -> str:
        found = self.operations.get(str(self.request.method))
        return "unknown" if found is None else found.id

    @property
    def decides(self) -> bool:
        found = self.operations.get(str(self.request.method))
        return found is not None and found.decides

    async def operate(self, method: str, parts: dict[str, str]) -> None:
        operation = self.operations[method]
        if operation.noun == "runs" and hasattr(RunCalls, operation.name):
            await self._write_run(operation, parts)
            return
        answer = partial(self._answer, operation, parts)
        self.send(await self.call(partial(self.tracker.database.repeated, answer)))

    def _answer(self, operation: Operation, parts: dict[str, str]) -> bytes | None:
        tracker = self.tracker
        noun = getattr(tracker, operation.noun) if operation.noun else tracker
        value = getattr(noun, operation.name)(**self._arguments(operation, parts))
        # Of what may give a record or none, the answer says which.
        return self.encoded(value) if operation.answer is NoneType else wire.encode(value, self._accepted)

    async def _write_run(self, operation: Operation, parts: dict[str, str]) -> None:
        """Without a thread that waits: the store's writer tells when it is done."""
        tracker = self.tracker

        def prepare() -> RunCall:
            return cast(RunCall, getattr(tracker.run_calls, operation.name)(**self._arguments(operation, parts)))

        is_quick = len(self.request.body) <= QUICKLY_READ
        call = prepare() if is_quick else await self.call(prepare)
        await self.service.write(call)
        if operation.answer is NoneType:
            self.send(None)
        elif call.run is not None:
            self.give(call.run)
        else:
            self.give(await self.call(partial(tracker.runs.get, call.run_id)))

    def _arguments(self, operation: Operation, parts: dict[str, str]) -> dict[str, Any]:
        given = [_converted(dict(parts), operation.path_fields, "path")]
        if operation.has_body:
            given.append(wire.decode(self.request.body or b"{}", self._content_type(), operation.body))
        else:
            given.append(_converted(self.query(), operation.query, "query"))
        return {name: getattr(struct, name) for struct in given for name in struct.__struct_fields__}

    def _content_type(self) -> str:
        given = self.request.headers.get("Content-Type", wire.JSON if not self.request.body else "")
        kind = given.partition(";")[0].strip().lower()
        # Nothing that a form of another site can send.
        if kind not in (wire.JSON, wire.MSGPACK):
            raise InvalidValue(f"the Content-Type of a body is {wire.JSON} or {wire.MSGPACK}, not {given[:100]!r}")
        return kind


def _converted(values: dict[str, Any], fields: type[msgspec.Struct], where: str) -> Any:
    try:
        return msgspec.convert(values, fields, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"the {where} cannot be read: {error}") from error


class PrincipalHandler(ApiHandler):
    """Who the caller is taken for."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self) -> None:
        self.give(self.principal)


class WhereHandler(ApiHandler):
    """Where people see what is here."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self) -> None:
        self.send(wire.encode(self.service.page, self._accepted))


class UnknownHandler(ApiHandler):
    """Any other URL below the API."""

    async def prepare(self) -> None:
        self.refuse(NotFound("there is nothing at this URL"))
