"""Whether the service lives, is ready, how it does, and what it offers."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.service import description, metrics
from jupyter_mlops.service.handlers import ApiHandler
from jupyter_mlops.tracker import wire


class HealthHandler(ApiHandler):
    """``health``: the process answers. Says nothing about the store, so that a broken database restarts no replica."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self) -> None:
        self.give({"status": "ok"})


class ReadyHandler(ApiHandler):
    """``ready``: the store answers, so that requests may be sent here; 503 otherwise."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self) -> None:
        await self.answered(self._ready())

    async def _ready(self) -> None:
        await self.call(self.service.tracker.database.ping)
        self.give({"status": "ready"})


class MetricsHandler(ApiHandler):
    """``metrics``: for Prometheus, which shows a token."""

    scopes = MappingProxyType({"GET": Scope.READ})

    async def get(self) -> None:
        await self.answered(self._tell())

    async def _tell(self) -> None:
        assert self.principal is not None
        try:
            figures = await self.call(self.service.tracker.figures)
        except MLOpsError:
            # The store is away: then that is what there is to tell.
            figures = None
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        await self.finish(self.service.metrics.text(self.principal, figures))


class DescriptionHandler(ApiHandler):
    """``api/v1/openapi.json``."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    async def get(self) -> None:
        self.set_header("Content-Type", wire.JSON)
        self.set_header("Cache-Control", "public, max-age=3600")
        here = self.request.path.rpartition("/")[0]
        await self.finish(await self.call(partial(description.document, here)))
