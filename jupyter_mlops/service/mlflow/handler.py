"""How a request in MLflow's words is answered: read by its route's message, done by its route's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import msgspec

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.records import Run
from jupyter_mlops.service.handlers import QUICKLY_READ, ApiHandler, MethodsHandler, Service
from jupyter_mlops.service.mlflow import messages
from jupyter_mlops.service.mlflow.messages import Message
from jupyter_mlops.service.mlflow.words import in_workspace
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.embedded import EmbeddedTracker


def _anywhere(asked: Any) -> AbstractContextManager[None]:  # noqa: ARG001
    return nullcontext()


def _never(asked: Any) -> bool:  # noqa: ARG001
    return False


class Route(msgspec.Struct, frozen=True):
    """What is answered at a path.

    Parameters
    ----------
    path
        Below ``mlflow/``; what is in braces are fields of the message.
    scope
        The least that the caller's credential must have.
    message
        What is asked.
    function
        Takes the tracker, as the caller sees it, and the message; gives the answer.
    within
        What errors are told in.
    """

    method: str
    path: str
    scope: Scope
    message: type[Message]
    function: Callable[[EmbeddedTracker, Any], Any]
    within: Callable[[Any], AbstractContextManager[None]] = _anywhere


class Writing(Route, frozen=True):
    """What is written to a run. ``function`` gives the calls, which no thread waits for.

    Parameters
    ----------
    answer
        What is answered of the run as it is then; None for nothing.
    waits
        Whether the function has to ask the store for what this message asks.
    """

    answer: Callable[[Run], Any] | None = None
    waits: Callable[[Any], bool] = _never


class DialectHandler(ApiHandler):
    """Base of the dialect's handlers: errors and the workspace are MLflow's. ``within`` is the id of the notebook run
    that the client is inside of, and ``named`` whether that has a name which its code does not change."""

    async def prepare(self) -> None:
        self.within: str | None = self.path_kwargs.pop("within", None)
        self.named = self.path_kwargs.pop("named", None) is not None
        await super().prepare()

    @property
    def tracker(self) -> EmbeddedTracker:
        assert self.principal is not None, "asked before the caller was known"
        return self.service.tracker.acting_for(in_workspace(self.principal, self.request.headers))

    def told(self, error: MLOpsError) -> bytes:
        return msgspec.json.encode({"error_code": error.error_code, "message": error.public or error.message})

    def require_json(self) -> None:
        """Raise ``InvalidValue`` for a body that says it is anything else: nothing that a form of another site can
        send."""
        given = self.request.headers.get("Content-Type", wire.JSON if not self.request.body else "")
        if given.partition(";")[0].strip().lower() != wire.JSON:
            raise InvalidValue(f"Bad Request. Content-Type must be {wire.JSON}, not {given[:100]!r}.")

    def answer(self, content: bytes) -> None:
        self.set_header("Content-Type", wire.JSON)
        self.finish(content)


class RouteHandler(MethodsHandler, DialectHandler):
    """The routes at one path, by HTTP method; ``adapted`` gives what is answered inside a notebook run instead."""

    def initialize(  # type: ignore[override]
        self, service: Service, routes: Mapping[str, Route], adapted: Callable[[str, bool, Route], Route]
    ) -> None:
        super().initialize(service)
        self.routes = routes
        self._adapted = adapted
        self.scopes = {method: route.scope for method, route in routes.items()}

    @property
    def operation_id(self) -> str:
        found = self.routes.get(str(self.request.method))
        return "mlflow.unknown" if found is None else f"mlflow.{found.path.replace('/', '.')}"

    async def operate(self, method: str, parts: dict[str, str]) -> None:
        route = self.routes[method]
        if self.within is not None:
            route = self._adapted(self.within, self.named, route)
        if isinstance(route, Writing):
            await self._write(route, parts)
            return
        tracker = self.tracker

        def do() -> bytes:
            asked = self._asked(route, parts)
            with route.within(asked):
                return messages.encode(route.function(tracker, asked))

        self.answer(await self.call(partial(tracker.database.repeated, do)))

    async def _write(self, route: Writing, parts: dict[str, str]) -> None:
        tracker = self.tracker

        def prepare() -> Sequence[RunCall]:
            calls: Sequence[RunCall] = route.function(tracker, asked)
            return calls

        is_quick = len(self.request.body) <= QUICKLY_READ
        asked = self._asked(route, parts) if is_quick else await self.call(partial(self._asked, route, parts))
        with route.within(asked):
            calls = prepare() if is_quick and not route.waits(asked) else await self.call(prepare)
            for call in calls:
                await self.service.write(call)
        if route.answer is None:
            self.answer(messages.NOTHING)
            return
        run = calls[-1].run
        assert run is not None, "what has no place in a stream is applied"
        self.answer(messages.encode(route.answer(run)))

    def _asked(self, route: Route, parts: dict[str, str]) -> Any:
        body = self.request.body
        if route.method == "GET" and not body:
            return messages.read_query(self._query() | {name: [part] for name, part in parts.items()}, route.message)
        if not body and self.request.query_arguments:
            return messages.read_query(self._query() | {name: [part] for name, part in parts.items()}, route.message)
        self.require_json()
        return messages.read(body, route.message, parts)

    def _query(self) -> dict[str, list[str]]:
        given = self.request.query_arguments
        return {name: [self.decode_argument(value, name) for value in values] for name, values in given.items()}
