"""Who belongs to a group of the hub, where the hub lets the service ask (by the scope ``read:groups``)."""

from __future__ import annotations

import logging
from urllib.parse import quote

import msgspec
import urllib3
from jupyterhub.services.auth import HubAuth
from jupyterhub.utils import make_ssl_context

logger = logging.getLogger("jupyter_mlops.hub")

_SECONDS = 5.0


class _Group(msgspec.Struct):
    users: tuple[str, ...] | None = None


class HubGroups:
    """Asks the hub each time; callable from any thread, of which it takes the time that the hub does."""

    def __init__(self, auth: HubAuth) -> None:
        with_tls = bool(auth.certfile or auth.keyfile)
        context = make_ssl_context(auth.keyfile, auth.certfile, cafile=auth.client_ca) if with_tls else None
        self._pool = urllib3.PoolManager(ssl_context=context, timeout=_SECONDS, retries=False)
        self._url = str(auth.api_url)
        self._headers = {"Authorization": f"token {auth.api_token}"}

    def __call__(self, group: str) -> frozenset[str] | None:
        """Its members, of a group that the hub does not have none; None when the hub does not say."""
        url = f"{self._url}/groups/{quote(group, safe='')}"
        try:
            answer = self._pool.request("GET", url, headers=self._headers)
            if answer.status == 404:
                return frozenset()
            if answer.status != 200:
                return None
            users = msgspec.json.decode(answer.data, type=_Group).users
        except (urllib3.exceptions.HTTPError, msgspec.MsgspecError) as error:
            logger.warning("the hub does not say who belongs to %s: %s", group, error)
            return None
        return None if users is None else frozenset(users)
