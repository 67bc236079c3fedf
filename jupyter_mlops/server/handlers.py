"""The extension's own requests over HTTP, with the checks and the answers of all others."""

from __future__ import annotations

import re
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from jupyter_mlops.core.access import Scope
from jupyter_mlops.server import description
from jupyter_mlops.server.desk import Desk
from jupyter_mlops.server.identity import visitor
from jupyter_mlops.server.operations import ENDPOINTS, PREFIX, Endpoint
from jupyter_mlops.service.app import Route, mixed
from jupyter_mlops.service.handlers import ApiHandler, OperationHandler, Service
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.operations import Operation


class EndpointHandler(OperationHandler):
    """The endpoints at one path, by HTTP method."""

    def initialize(self, service: Service, endpoints: dict[str, Endpoint], desk: Desk) -> None:  # type: ignore[override]
        # They have of an operation what is read here.
        super().initialize(service, cast("dict[str, Operation]", endpoints))
        self.endpoints = endpoints
        self.desk = desk

    async def operate(self, method: str, parts: dict[str, str]) -> None:
        endpoint = self.endpoints[method]
        given = self._arguments(self.operations[method], parts)
        in_path = {name: given.pop(name) for name in parts}
        answer = getattr(self.desk, endpoint.name)
        self.give(await answer(endpoint.request(**given), visitor(self), **in_path))


class OwnDescriptionHandler(ApiHandler):
    """``server/v1/openapi.json``."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self) -> None:
        self.set_header("Content-Type", wire.JSON)
        here = self.request.path.rpartition("/")[0]
        await self.finish(await self.call(partial(description.document, here)))


def routes(service: Service, desk: Desk, base: str) -> list[Route]:
    """The routes of the endpoints, below the URL path ``base`` (with a slash at its end)."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    base = re.escape(base + PREFIX)
    found: list[Route] = []

    def add(path: str, handler: type[ApiHandler], **arguments: Any) -> None:
        pattern = base + re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)
        found.append((pattern, mixed(handler, service), {"service": service, **arguments}))

    for path, endpoints in by_path.items():
        add(path, EndpointHandler, endpoints=endpoints, desk=desk)
    add(r"openapi\.json", OwnDescriptionHandler)
    return found
