"""Bytes that a service leaves to its object store: got there by a link which is signed for who asked."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

import urllib3

from jupyter_mlops._version import __version__

LINKS_HEADER = "X-MLOps-Links"
"""With a request for a file, from who can follow a link and compares the digest."""
CONNECTIONS = 8
"""Connections that are kept when idle; more are opened as threads need them."""
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_HEADERS: Mapping[str, str] = {"User-Agent": f"jupyter-mlops/{__version__}"}
"""Nothing of what the service is told: the link itself is the permission."""

logger = logging.getLogger("jupyter_mlops.tracker")


class Links:
    """What follows the links of one service. ``usable`` turns False when one could not be followed: a network from
    which the store is not reached does not change soon. Thread-safe.

    Parameters
    ----------
    scheme
        Of the service's URL: what comes encrypted from there is not fetched unencrypted from elsewhere.
    """

    def __init__(self, scheme: str) -> None:
        self._schemes = ("https",) if scheme == "https" else ("https", "http")
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self.usable = True

    def follow(self, link: str) -> urllib3.BaseHTTPResponse | None:
        """The answer with the bytes, still to be read; None when there is none, so that the service must give them."""
        try:
            parts = urlsplit(link)
            host = parts.hostname
        except ValueError:
            host = None
        if not host or parts.scheme not in self._schemes:
            self._give_up(host, "its URL is none that is followed")
            return None
        pool = self._pools.setdefault((parts.scheme, host), pool_for(parts.scheme, host))
        try:
            answer = pool.request(
                "GET",
                link,
                headers=_HEADERS,
                retries=urllib3.Retry(total=1, redirect=0, status=0),
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            )
        except urllib3.exceptions.HTTPError as error:
            self._give_up(host, str(error))
            return None
        if answer.status != 200:
            answer.close()
            self._give_up(host, f"it answers {answer.status}")
            return None
        return answer

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()
        self._pools.clear()

    def _give_up(self, host: str | None, why: str) -> None:
        self.usable = False
        logger.info("files come through the service, since links to %s cannot be followed: %s", host, why)


def pool_for(scheme: str, host: str) -> urllib3.PoolManager:
    """Connections to a host, through the proxy that the environment names for it."""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    if proxy:
        return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS)
    return urllib3.PoolManager(maxsize=CONNECTIONS)
