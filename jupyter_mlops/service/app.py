"""The routes, and a server of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import tornado.web

from jupyter_mlops.service.archive import ArchiveHandler
from jupyter_mlops.service.content import RunContentHandler, UploadContentHandler, VersionContentHandler
from jupyter_mlops.service.handlers import (
    ApiHandler,
    OperationHandler,
    PrincipalHandler,
    Service,
    UnknownHandler,
    WhereHandler,
)
from jupyter_mlops.service.live import EventsHandler, Listeners
from jupyter_mlops.service.mlflow.mounting import mounted
from jupyter_mlops.service.server import Application
from jupyter_mlops.service.status import DescriptionHandler, HealthHandler, MetricsHandler, ReadyHandler
from jupyter_mlops.tracker.operations import (
    EVENTS,
    MODEL_ARCHIVE,
    OPERATIONS,
    PAGE,
    PREFIX,
    PRINCIPAL,
    RUN_CONTENT,
    UPLOAD_CONTENT,
    VERSION_CONTENT,
    Operation,
)

Route = tuple[str, type[tornado.web.RequestHandler], dict[str, Any]]


def routes(service: Service, base: str) -> list[Route]:
    """The API's routes for a tornado application, below the URL path ``base`` (with a slash at its end)."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    found: list[Route] = []

    def add(path: str, handler: type[ApiHandler], *, below: str = PREFIX, **arguments: Any) -> None:
        found.append((re.escape(base + below) + path, mixed(handler, service), {"service": service, **arguments}))

    for path, operations in by_path.items():
        add(_pattern(path), OperationHandler, operations=operations)
    add(_pattern(RUN_CONTENT), RunContentHandler)
    add(_pattern(UPLOAD_CONTENT), UploadContentHandler)
    add(_pattern(VERSION_CONTENT), VersionContentHandler)
    add(_pattern(MODEL_ARCHIVE), ArchiveHandler)
    add(PRINCIPAL, PrincipalHandler)
    add(PAGE, WhereHandler)
    add(EVENTS, EventsHandler, listeners=Listeners(service))
    add("openapi\\.json", DescriptionHandler)
    found += dialect(service, base)
    add("health", HealthHandler, below="")
    add("ready", ReadyHandler, below="")
    add("metrics", MetricsHandler, below="")
    add(".*", UnknownHandler)
    return found


def dialect(service: Service, base: str) -> list[Route]:
    """The routes of MLflow's API alone."""
    return [
        (re.escape(base) + pattern, mixed(handler, service), {"service": service, **arguments})
        for pattern, handler, arguments in mounted()
    ]


def mixed(handler: type[ApiHandler], service: Service) -> type[tornado.web.RequestHandler]:
    """The handler with what the server around it needs for its own checks."""
    return type(handler.__name__, (handler, service.identity.handler_class), {})


def make_app(service: Service, base: str = "/", more: Iterable[Route] = (), **settings: Any) -> Application:
    """An application of its own, in which any other URL is answered in the API's form, too."""
    return Application(
        [*more, *routes(service, base)],
        default_handler_class=UnknownHandler,
        default_handler_args={"service": service},
        **settings,
    )


def make_dialect(service: Service) -> Application:
    """An application that speaks MLflow's API and nothing else."""
    return Application(
        dialect(service, "/"), default_handler_class=UnknownHandler, default_handler_args={"service": service}
    )


def _pattern(path: str) -> str:
    return re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)
