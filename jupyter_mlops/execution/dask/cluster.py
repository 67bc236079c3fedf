"""Which Dask cluster: one that runs, one that a Dask Gateway makes, or one of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from jupyter_mlops.core.errors import InvalidValue, MissingDependency, Unavailable
from jupyter_mlops.core.redaction import masked_url
from jupyter_mlops.core.values import short
from jupyter_mlops.execution.dask.localcluster import Entrance
from jupyter_mlops.tracker.location import is_service

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

_CONNECT_SECONDS = 15.0
_GATEWAY, _LOCAL = "gateway:", "local:"
_SCHEMES = ("tcp", "tls", "ws", "wss", "ucx", "ucxx")
_FORMS = "ADDRESS of a scheduler such as tcp://host:8786, gateway:URL or local:N"


class Cluster(Protocol):
    """Where a scheduler is. Use it as a context manager: what it started ends with that."""

    def connect(self) -> Client:
        """A new connection to the scheduler; ``Unavailable`` when there is none to be had."""

    def __enter__(self) -> Cluster: ...

    def __exit__(self, *_: object) -> None: ...


class Running:
    """The cluster whose scheduler is at ``address``; ``security`` has the certificates, which are those of Dask's own
    configuration when it is None."""

    def __init__(self, address: str, security: Security | None = None) -> None:
        self._address = address
        self._security = security

    def connect(self) -> Client:
        from distributed import Client

        try:
            return Client(self._address, timeout=_CONNECT_SECONDS, security=self._security, set_as_default=False)
        except (OSError, ValueError) as error:
            raise Unavailable(f"no Dask scheduler answers at {masked_url(self._address)}: {error}") from error

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """It is not ours."""


class Own:
    """A cluster of ``workers`` processes on this machine, which ends with the context, and with this process."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._process: subprocess.Popen[str] | None = None
        self._entrance: Entrance | None = None

    def connect(self) -> Client:
        from distributed.security import Security

        if self._process is None:
            # Not in this process: Dask's workers import the main module of the process that starts them.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_mlops.execution.dask.localcluster", str(self._workers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                # Ctrl-C on the terminal reaches only us.
                start_new_session=True,
            )
            assert self._process.stdout is not None
            if line := self._process.stdout.readline():
                self._entrance = msgspec.json.decode(line, type=Entrance)
        if self._entrance is None:
            raise Unavailable(f"the Dask cluster of this machine ended with status {self._process.wait()}")
        entrance = self._entrance
        security = Security(
            require_encryption=True,
            tls_ca_file=entrance.certificate,
            tls_client_cert=entrance.certificate,
            tls_client_key=entrance.key,
        )
        return Running(entrance.address, security).connect()

    def __enter__(self) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # The end of its standard input.
            self._process.communicate()


class OfGateway:
    """A new cluster of the Dask Gateway at ``url``, with ``workers`` of them; it ends with the context."""

    def __init__(self, url: str, workers: int) -> None:
        self._url = url
        self._workers = workers
        self._cluster: Any = None

    def connect(self) -> Client:
        from dask_gateway import Gateway, GatewayClusterError, GatewayServerError

        try:
            if self._cluster is None:
                # On a hub, who asks is known by the token of their server.
                auth = "jupyterhub" if os.environ.get("JUPYTERHUB_API_TOKEN") else None
                self._cluster = Gateway(self._url, auth=auth).new_cluster(shutdown_on_close=True)
                self._cluster.scale(self._workers)
            client: Client = self._cluster.get_client(set_as_default=False)
        except (OSError, ValueError, GatewayClusterError, GatewayServerError) as error:
            raise Unavailable(f"the Dask Gateway {masked_url(self._url)} gives no cluster: {error}") from error
        return client

    def __enter__(self) -> OfGateway:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.close()


def find_cluster(text: str, workers: int) -> Cluster:
    """The cluster that ``text`` names; a new one of a gateway gets so many ``workers``.

    Raises
    ------
    InvalidValue
        It names none.
    MissingDependency
        Dask, or Dask Gateway, is not installed.
    """
    check_cluster(text)
    if text.startswith(_LOCAL):
        return Own(int(text.removeprefix(_LOCAL)))
    if text.startswith(_GATEWAY):
        return OfGateway(text.removeprefix(_GATEWAY), workers)
    return Running(text)


def is_new(text: str) -> bool:
    """Whether the cluster is one that a gateway makes, as large as it is asked for."""
    return text.startswith(_GATEWAY)


def check_cluster(text: str) -> None:
    """Raise what :func:`find_cluster` would."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise MissingDependency("the engine dask needs Dask: pip install 'jupyter-mlops[dask]'")
    if text.startswith(_LOCAL):
        count = text.removeprefix(_LOCAL)
        if not count.isdecimal() or int(count) < 1:
            raise InvalidValue(f"cluster {short(text)}: after local: comes the number of workers, at least 1")
        if find_spec("cryptography") is None:
            raise MissingDependency("a cluster of this machine needs cryptography: pip install 'jupyter-mlops[dask]'")
    elif text.startswith(_GATEWAY):
        if not is_service(text.removeprefix(_GATEWAY)):
            raise InvalidValue(f"cluster {short(masked_url(text))}: after gateway: comes an http(s) URL")
        if find_spec("dask_gateway") is None:
            raise MissingDependency("a cluster of a gateway needs Dask Gateway: pip install dask-gateway")
    else:
        _check_address(text)


def _check_address(text: str) -> None:
    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        known = parts.scheme in _SCHEMES and parts.hostname and parts.port
    except ValueError:
        known = False
    if not known:
        raise InvalidValue(f"cluster {short(masked_url(text))}: expected the {_FORMS}")
