"""Who is asking, as the Jupyter server knows it: its identity provider, its authorizer, its XSRF and origin checks."""

from __future__ import annotations

import inspect
import os
from asyncio import Future
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado.web import RequestHandler

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import PermissionDenied, Unauthenticated
from jupyter_mlops.server.store import SETTING, LazyTracker
from jupyter_mlops.tracker import wire
from jupyter_mlops.tracker.process import this_user

RESOURCE = "mlops"
"""What an authorizer of the server is asked about, with the actions ``read`` and ``write``."""
HUB_USER = "JUPYTERHUB_USER"
OWN_ARGUMENTS = ("token", "_xsrf", "no_track_activity")
"""What Jupyter's clients say in the query to the server itself."""


def owner() -> str:
    """Whose server this is: the hub's user, else the operating system's."""
    return os.environ.get(HUB_USER) or this_user()


def visitor(handler: RequestHandler) -> str | None:
    """Who uses somebody else's server, as the hub says; None when it is its owner, or when there is no hub to know."""
    hub_user = os.environ.get(HUB_USER)
    name = getattr(handler.current_user, "username", None)
    return name if hub_user and name != hub_user else None


class JupyterApiHandler(APIHandler):
    """The base of all our handlers: the server's own, with the tracker open once the caller was let in."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A WebSocket's own, which knows nothing of what the server allows, would come before it.
        cls.check_origin = APIHandler.check_origin  # type: ignore[method-assign]

    async def prepare(self) -> None:  # type: ignore[override]  # as APIHandler itself
        await super().prepare()
        for name in OWN_ARGUMENTS:
            self.request.query_arguments.pop(name, None)
        if self.current_user is not None:
            tracker: LazyTracker = self.settings[SETTING]
            await tracker.opened()

    def finish(self, *args: Any, **kwargs: Any) -> Future[Any]:
        # The server's own takes every answer for JSON.
        kwargs.setdefault("set_content_type", self._headers.get("Content-Type", wire.JSON))
        return super().finish(*args, **kwargs)


class JupyterIdentity:
    """Whoever may use the server may open what its user may open: an administrator of the user's own store, or its
    reader where the server's authorizer allows only that."""

    handler_class: type[RequestHandler] = JupyterApiHandler

    def __init__(self) -> None:
        self._name = owner()

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:  # noqa: ARG002 - always is
        user = handler.current_user
        if user is None:
            raise Unauthenticated("this server does not know who is asking")
        if await _allowed(handler, user, "write"):
            return Principal(self._name, scope=Scope.ADMIN)
        if await _allowed(handler, user, "read"):
            return Principal(self._name, scope=Scope.READ)
        raise PermissionDenied(f"the authorizer of this server does not let {user.username!r} use {RESOURCE!r}")


async def _allowed(handler: Any, user: Any, action: str) -> bool:
    answer = handler.authorizer.is_authorized(handler, user, action, RESOURCE)
    return bool(await answer if inspect.isawaitable(answer) else answer)
