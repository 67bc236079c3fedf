"""Who is asking, by the hub: tokens in the ``Authorization`` header, and logins by the hub's OAuth in cookies."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler
from traitlets import Dict, Int, List, Unicode
from traitlets.config import LoggingConfigurable

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import PermissionDenied, Unauthenticated, Unavailable
from jupyter_mlops.hub.diagnosis import missing
from jupyter_mlops.hub.groups import HubGroups
from jupyter_mlops.hub.oauth import StatelessHubOAuth, kept_cookie_secret
from jupyter_mlops.hub.scopes import SCOPE_PREFIX, principal_of
from jupyter_mlops.service.handlers import DiscreetHandler
from jupyter_mlops.service.tokens import credential
from jupyter_mlops.tracker import location

SECRET_FILE = "service_cookie_secret"
LONGEST_CACHE = 60
_HUB_SECONDS = 10.0
UNPROTECTED = (
    "On this hub, notebook servers share their web address with this service. Code in a notebook that you open can act "
    "here as you. An administrator can prevent it with JupyterHub.subdomain_host."
)


class HubIdentity(LoggingConfigurable):
    """Asks the hub who the owner of a token is, and remembers the answer for a while.

    With the hub down nobody is let in whom it has not just named.
    """

    cache_seconds = Int(
        30,
        min=1,
        max=LONGEST_CACHE,
        help="How long an answer of the hub counts, in seconds: a token that is revoked, and a change of groups or "
        f"scopes, takes effect after this time at the latest. At most {LONGEST_CACHE}. Who shares, hands over or "
        "restricts is always asked about anew.",
    ).tag(config=True)
    default_groups = List(
        Unicode(),
        help="Of a member of several groups, the first of these that they belong to owns what they create without "
        "saying whose it is. Without one it is they themselves; a member of one group creates for that group.",
    ).tag(config=True)
    service_owners = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="Who answers for services of the hub that ask for promotions (CI, schedules): the name of a user by that "
        "of a service. They count as asking, and so cannot approve what their service asked for. A service that is not "
        "among these cannot ask.",
    ).tag(config=True)
    cookie_secret_file = Unicode(
        help=f"Where the secret is kept that signs logins; made at the first start. {SECRET_FILE} in MLOPS_HOME. "
        "Replicas need the same secret: give it to all in MLOPS_COOKIE_SECRET."
    ).tag(config=True)

    def __init__(self, base_url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        given = self.cookie_secret_file
        secret = kept_cookie_secret(Path(given).expanduser() if given else location.home() / SECRET_FILE)
        self.hub_auth = StatelessHubOAuth(
            parent=self.parent,
            base_url=base_url,
            cookie_secret=secret,
            cache_max_age=self.cache_seconds,
            allow_token_in_url=False,
        )
        self.members = HubGroups(self.hub_auth)
        own = {"hub_auth": self.hub_auth}
        self.handler_class: type[RequestHandler] = type("HubHandler", (HubOAuthenticated, RequestHandler), own)
        self.callback_handler = type("CallbackHandler", (DiscreetHandler, HubOAuthCallbackHandler), own)
        self.settings = {"cookie_secret": secret}
        """What a tornado application of these handlers needs."""
        self._told: set[str] = set()

    async def principal(self, handler: RequestHandler, *, fresh: bool = False) -> Principal:
        model = await self._model(handler, fresh)
        if not self.hub_auth.check_scopes(self.hub_auth.access_scopes, model):
            raise PermissionDenied(
                f"{model['name']!r} may not use this service; an administrator of the hub can allow it"
            )
        interactive = not getattr(handler, "_token_authenticated", False)
        principal = principal_of(
            model,
            interactive=interactive,
            default_groups=self.default_groups,
            service_owners=self.service_owners,
        )
        if principal.widest is Scope.NONE:
            self._tell_once(interactive)
        return principal

    async def _model(self, handler: RequestHandler, fresh: bool) -> dict[str, Any]:
        shown = credential(handler)
        if shown is None and _foreign(handler):
            raise PermissionDenied("this request comes from another site")
        # The base class asks once a handler; who listens for long is asked about again and again.
        handler.__dict__.pop("_cached_hub_user", None)
        handler.__dict__.pop("_token_authenticated", None)
        try:
            with self.hub_auth.asking_anew(fresh):
                model = await self.hub_auth.get_user(handler, sync=False)
        except HTTPError as error:
            raise Unavailable(f"the hub cannot be asked who this is: {error.log_message}") from error
        if shown is not None and not getattr(handler, "_token_authenticated", False):
            # A cookie beside a token that does not count must not stand in for it.
            raise Unauthenticated("this token is not known to the hub; it may have been revoked")
        if model is None:
            raise Unauthenticated("say who is asking: Authorization: token ... (with cookies, also X-XSRFToken)")
        return cast("dict[str, Any]", model)

    def _tell_once(self, interactive: bool) -> None:
        where = "the service's oauth_client_allowed_scopes" if interactive else "Spawner.server_token_scopes"
        if where not in self._told:
            self._told.add(where)
            self.log.warning(
                "missing: somebody came with no scope %s*; it must be in %s, and in a role of theirs (jupyter mlops "
                "hub-config prints both)",
                SCOPE_PREFIX,
                where,
            )

    async def check(self) -> None:
        """Say in the log what is not protected, and, once the hub can be asked, what its configuration lacks."""
        if not self.has_own_host:
            self.log.warning("not protected: %s", UNPROTECTED)
        while True:
            try:
                own = await self.hub_auth.user_for_token(self.hub_auth.api_token, use_cache=False, sync=False)
                break
            except HTTPError as error:
                self.log.warning("the hub does not answer (%s); asking again soon", error.log_message)
            await asyncio.sleep(_HUB_SECONDS)
        if own is None:
            self.log.error("JUPYTERHUB_API_TOKEN is none that the hub knows: nobody can be identified")
            return
        for what in missing(own, os.environ["JUPYTERHUB_SERVICE_NAME"]):
            self.log.warning("missing: %s", what)

    @property
    def has_own_host(self) -> bool:
        """Whether user servers are on other hosts than this service (``JupyterHub.subdomain_host``), so that code in
        their pages cannot act in this service's pages."""
        public, hub = os.environ.get("JUPYTERHUB_PUBLIC_URL", ""), os.environ.get("JUPYTERHUB_HOST", "")
        return bool(public and hub) and urlsplit(public).netloc != urlsplit(hub).netloc


def _foreign(handler: RequestHandler) -> bool:
    """Whether a browser says that a page of another site made the request."""
    headers = handler.request.headers
    origin = headers.get("Origin")
    return (headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate") or (
        origin is not None and urlsplit(origin).netloc.lower() != handler.request.host.lower()
    )
