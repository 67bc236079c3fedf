"""A service as those see it who use it: through all proxies, with their own token."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3

from jupyter_mlops._version import __version__
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound, Unauthenticated
from jupyter_mlops.core.findings import Finding, bad, clocks, doubtful, good, room
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.tracker import location
from jupyter_mlops.tracker.operations import PREFIX, PRINCIPAL, RUN_CONTENT, operation
from jupyter_mlops.tracker.remote.client import BYTES, Client, filled

LARGE = 32 << 20
"""Bytes of the largest request that clients make."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVENTS = "events"
_DESCRIPTION = "openapi.json"
_SECONDS = 10.0


def examine_service(url: str, token: str | None) -> Iterator[Finding]:
    """Look at the service at ``url`` as the owner of ``token``; nothing is stored there.

    Raises
    ------
    InvalidValue
        The URL is not one of a service.
    """
    client = Client(url, token)
    try:
        yield from _examine(client, token)
    finally:
        client.close()


def _examine(client: Client, token: str | None) -> Iterator[Finding]:
    parts = urlsplit(client.url)
    reached = _reach(client)
    yield reached[0]
    if reached[1] is None:
        return
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        yield doubtful(
            "encryption",
            f"{client.url} is not encrypted, and tokens are sent to it",
            "use https, unless nobody else has this network",
        )
    yield _clock(reached[1])
    yield _version(client)
    principal = None
    if token is None:
        yield bad("token", "there is none to show", f"set {location.TRACKING_TOKEN} to a token for this service")
    else:
        found, principal = _caller(client)
        yield found
    if principal is None:
        return
    yield from _quotas(client)
    yield _live(client, token or "")
    if principal.widest >= Scope.WRITE:
        yield _large(client)


def _reach(client: Client) -> tuple[Finding, str | None]:
    """Whether the service and its database answer, and the time that it says."""
    http = urllib3.PoolManager(timeout=_SECONDS, retries=False)
    try:
        health = http.request("GET", f"{client.url}/health", redirect=False)
        ready = http.request("GET", f"{client.url}/ready", redirect=False)
    except urllib3.exceptions.HTTPError as error:
        told = client.unavailable(error).message
        return bad("service", told, "see whether it runs, and whether this machine reaches that address"), None
    if health.status != 200 or _json(health.data).get("status") != "ok":
        told = f"{client.url} answers {health.status}, but not as a jupyter-mlops service"
        advice = f"correct {location.TRACKING_URL}: the URL of a hub's service ends in /services/mlops"
        return bad("service", told, advice), None
    if ready.status != 200:
        told = f"it runs, and its database does not answer: {_json(ready.data).get('message', ready.status)}"
        return bad("service", told, "its log says more"), str(health.headers.get("Date", ""))
    return good("service", f"{client.url} and its database answer"), str(health.headers.get("Date", ""))


def _clock(date: str) -> Finding:
    try:
        skew = time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return doubtful(
            "clock", "the service does not say what time it is", "see what proxy takes its Date header away"
        )
    return clocks(skew, "the service")


def _version(client: Client) -> Finding:
    try:
        answer = urllib3.PoolManager(timeout=_SECONDS, retries=False).request(
            "GET", f"{client.url}/{PREFIX}{_DESCRIPTION}", redirect=False
        )
        theirs = _json(answer.data)["info"]["version"]
    except (urllib3.exceptions.HTTPError, KeyError, TypeError):
        return doubtful("version", "the service does not say its version", "bring it to the version that is here")
    if theirs != __version__:
        told = f"here is jupyter-mlops {__version__}, the service has {theirs}"
        return doubtful("version", told, "bring the older one to the other's version")
    return good("version", f"both are jupyter-mlops {__version__}")


def _caller(client: Client) -> tuple[Finding, Principal | None]:
    try:
        principal = client.read(client.send("GET", PRINCIPAL, {}), Principal)
    except Unauthenticated as error:
        return bad("token", error.message, f"get another, and set {location.TRACKING_TOKEN} to it"), None
    except MLOpsError as error:
        return bad("token", error.message, "an administrator can give the scope access:services!service=mlops"), None
    groups = f", of {', '.join(sorted(principal.groups))}" if principal.groups else ""
    told = f"it is {principal.name}'s{groups}; it may {principal.widest.name.lower()}"
    if principal.widest < Scope.READ:
        advice = "give custom:mlops:write in Spawner.server_token_scopes and in a role (jupyter mlops hub-config)"
        return bad("token", f"it is {principal.name}'s and may do nothing", advice), None
    if principal.widest < Scope.WRITE:
        return doubtful("token", told, "to record runs it needs the scope custom:mlops:write"), principal
    return good("token", told), principal


def _quotas(client: Client) -> Iterator[Finding]:
    try:
        found = client.call(operation("quotas.standing"), {})
    except NotFound:
        # A service of a version without quotas.
        return
    yield from room(found)


def _live(client: Client, token: str) -> Finding:
    """Whether a WebSocket comes through: views would be right, and late, without."""
    advice = "have each proxy on the way pass the headers Upgrade and Connection, and leave such connections open"
    headers = {
        "Authorization": f"token {token}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    http = urllib3.PoolManager(timeout=_SECONDS, retries=False)
    try:
        answer = http.request("GET", f"{client.url}/{PREFIX}{_EVENTS}", headers=headers, preload_content=False)
    except urllib3.exceptions.HTTPError as error:
        return bad("live events", f"no WebSocket comes through: {error}", advice)
    answer.close()
    if answer.status != 101:
        return bad("live events", f"asked for a WebSocket, {client.url} answers {answer.status}", advice)
    return good("live events", "a WebSocket comes through")


def _large(client: Client) -> Finding:
    """Whether the largest requests come through. They are for a run that there is not."""
    path = filled(RUN_CONTENT, run_id=new_id())
    try:
        client.send("PUT", path, {"path": "doctor"}, bytes(LARGE), headers={"Content-Type": BYTES})
    except NotFound:
        return good("large requests", f"{LARGE >> 20} MB come through")
    except InvalidValue as error:
        return bad("large requests", error.message, "raise that limit: files are sent in parts of so much")
    except MLOpsError as error:
        return doubtful("large requests", error.message, f"see what on the way takes no {LARGE >> 20} MB")
    return doubtful("large requests", "the service took a file for a run that there is not", "say so to its developers")


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
