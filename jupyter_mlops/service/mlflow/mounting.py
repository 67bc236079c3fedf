"""Where the dialect is answered, below a service's URL or an extension's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import EndpointNotFound, NotSupported
from jupyter_mlops.service.handlers import ApiHandler
from jupyter_mlops.service.mlflow import artifacts, messages, multipart, within
from jupyter_mlops.service.mlflow.handler import DialectHandler, Route, RouteHandler
from jupyter_mlops.service.mlflow.table import PROXIED, ROUTES

API = within.PREFIX + r"(?:ajax-)?api/[23]\.0/"
"""MLflow's versions of its API are of single routes; a client finds each in both, as in what its own pages ask."""
MLFLOW_VERSION = "3.17.2"
"""The latest one whose API is spoken."""
_NOT_OFFERED = re.compile(
    r"(?:unified-)?traces|get-online-trace|get-trace|assessments|issues|label-schemas|scorers?|gateway|prompt|"
    r"review-queues|v1/traces|datasets|webhooks|workspaces|jobs|demo|genai|graphql|runs/create-promptlab"
)

Mounted = tuple[str, type[ApiHandler], dict[str, Any]]


class InfoHandler(DialectHandler):
    """What clients ask of a server before they do anything else; for all, as MLflow's."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self) -> None:
        self.answer(
            messages.encode(
                {
                    "store_type": "SqlStore",
                    "workspaces_enabled": False,
                    "trace_archival_enabled": False,
                    "multipart_uploads_enabled": True,
                    "multipart_downloads_enabled": False,
                    "presigned_upload_run_id_supported": False,
                    "presigned_upload_model_id_supported": False,
                    "features_enabled": {"gateway": False},
                }
            )
        )


class VersionHandler(DialectHandler):
    """The version of MLflow whose API this is."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        await self.finish(MLFLOW_VERSION)


class OtherHandler(DialectHandler):
    """What MLflow has and the dialect does not, and what nobody has."""

    async def prepare(self) -> None:
        path = re.sub(rf".*?(?:{API}mlflow/|/(?=(?:graphql|v1/traces)$))", "", self.request.path)
        if _NOT_OFFERED.match(path):
            self.refuse(NotSupported(f"{path[:100]!r} of MLflow's API is not offered here"))
        else:
            self.refuse(EndpointNotFound(f"MLflow's API has nothing at {self.request.path[:200]!r}"))


def mounted() -> list[Mounted]:
    """Patterns below the base URL, handlers and their arguments."""
    found: list[Mounted] = []
    for prefix, routes in ((f"{API}mlflow/", ROUTES), (f"{API}mlflow-artifacts/", PROXIED)):
        found += [
            (prefix + _pattern(path), RouteHandler, {"routes": by_method, "adapted": within.adapted})
            for path, by_method in _by_path(routes).items()
        ]
    found += [
        (rf"{API}mlflow-artifacts/artifacts/(?P<path>.*)", artifacts.ArtifactHandler, {}),
        (rf"{API}mlflow-artifacts/mpu/(?P<action>create|complete|abort)/(?P<path>.*)", multipart.MultipartHandler, {}),
        (
            rf"{API}mlflow-artifacts/mpu/part/(?P<upload_id>[^/]+)/(?P<number>[0-9]{{1,5}})/(?P<path>.*)",
            multipart.PartHandler,
            {},
        ),
        (
            rf"{API}mlflow/logged-models/(?P<model_id>[^/]+)/artifacts/files",
            artifacts.NamedArtifactHandler,
            {"find": artifacts.in_model},
        ),
        (r"/?get-artifact", artifacts.NamedArtifactHandler, {"find": artifacts.in_run}),
        (r"/?model-versions/get-artifact", artifacts.NamedArtifactHandler, {"find": artifacts.in_version}),
        (rf"{API}mlflow/server-info", InfoHandler, {}),
        (within.PREFIX + "version", VersionHandler, {}),
        (rf"{API}mlflow/upload-artifact", artifacts.UploadHandler, {}),
        (rf"{API}mlflow.*", OtherHandler, {}),
        (within.PREFIX + "(?:graphql|v1/traces)", OtherHandler, {}),
    ]
    return found


def _by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    by_path: dict[str, dict[str, Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, {})[route.method] = route
    return by_path


def _pattern(path: str) -> str:
    return re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)
