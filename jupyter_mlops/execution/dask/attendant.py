"""Speaks with the scheduler and the workers beside the sweep, which must not wait for one that does not answer."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Reason
from jupyter_mlops.execution.dask import host
from jupyter_mlops.execution.dask.cluster import Cluster
from jupyter_mlops.execution.dask.parcel import Parcel, Point
from jupyter_mlops.execution.worker import encode

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_SECONDS = 1.0
"""How often it looks which workers there are."""
_RENEWALS = 4
"""In the time after which a worker that hears nothing gives up."""
_LEAVE_SECONDS = 30.0


class Workers(msgspec.Struct, frozen=True):
    """The workers there are."""

    threads: Mapping[str, int]
    """By address: of those that are ready for points, how many they take at once."""
    refused: Mapping[str, str]
    """By address, why others are not."""
    waiting: int
    """How many have not yet answered."""
    trouble: str | None = None
    """Why there is no scheduler to ask."""


class Message(msgspec.Struct, frozen=True):
    """What a worker told."""

    remark: str | None = None
    event: str | None = None


class Ended(msgspec.Struct, frozen=True):
    """What came of a point, as far as Dask knows."""

    run_id: str
    answer: bytes | None
    problem: str = ""
    """Why there is no answer."""


News = Workers | Message | Ended


class Attendant:
    """Keeps the connection to a cluster, makes workers ready, and lets them know that the sweep goes on.

    Parameters
    ----------
    token
        Gives the token that workers show the service, or None where they need none.
    """

    def __init__(self, cluster: Cluster, parcel: Parcel, token: Callable[[], str | None]) -> None:
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._key = new_id()
        self._cluster = cluster
        self._parcel = parcel
        self._document = msgspec.msgpack.encode(parcel)
        self._token = token
        self._numbers = count()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._ready: set[str] = set()
        self._refused: dict[str, str] = {}
        self._asked: set[str] = set()
        self._renewed = time.monotonic()
        self._client = self._connected()
        self._thread = threading.Thread(target=self._attend, name="mlops-dask", daemon=True)
        self._thread.start()

    def place(self, point: Point, address: str) -> Future[bytes]:
        """Have a worker do a point; its end is among the news."""
        future = self._client.submit(
            host.perform,
            self._key,
            encode(point),
            # Another one each time: Dask may still know what became of the last.
            key=f"mlops-{point.run_id}-{next(self._numbers)}",
            workers=[address],
            pure=False,
            # Whether a point is begun again is not for Dask to decide.
            retries=0,
        )

        def ended(_: object) -> None:
            self._spawn(lambda: self.news.put(_ended(point.run_id, future)))

        future.add_done_callback(ended)
        return future

    def forget(self, address: str) -> None:
        """Make a worker ready anew: it does not know the sweep any more."""
        with self._lock:
            self._ready.discard(address)

    def stop(self, reasons: Mapping[str, Mapping[str, Reason]]) -> None:
        """Have points end, by address and run."""
        for address, runs in reasons.items():
            encoded = {run_id: encode(reason) for run_id, reason in runs.items()}
            self._spawn(partial(self._ask, [address], host.stop, encoded))

    def leave(self) -> bool:
        """Tell all workers that the sweep is over, and close the connection. Whether all that there are have left."""
        self._over.set()
        self._thread.join()
        leaving = self._spawn(lambda: self._ask(None, host.leave))
        leaving.join(_LEAVE_SECONDS)
        self._client.close(timeout=_LEAVE_SECONDS)
        return not leaving.is_alive()

    def _connected(self) -> Client:
        client = self._cluster.connect()
        client.subscribe_topic(self._key, self._hear)
        return client

    def _hear(self, event: tuple[float, Any]) -> None:
        with contextlib.suppress(msgspec.ValidationError):  # others on the cluster may write to the topic, too
            self.news.put(msgspec.convert(event[1], Message))

    def _attend(self) -> None:
        while not self._over.is_set():
            try:
                if self._client.status != "running":
                    # What it does to connect again leaves the workers' messages out.
                    self._client.close(timeout=0)
                    self._client = self._connected()
                self._look(self._client.nthreads())
            except Exception as error:  # noqa: BLE001 - whatever Dask raises, workers must go on hearing of the sweep
                self._forget_all()
                self.news.put(Workers({}, {}, 0, str(error)))
            if time.monotonic() - self._renewed > self._parcel.patience / _RENEWALS:
                self._renewed = time.monotonic()
                self._spawn(self._renew)
            self._over.wait(LOOK_SECONDS)

    def _look(self, found: Mapping[str, int]) -> None:
        with self._lock:
            self._ready &= found.keys()
            self._asked &= found.keys()
            self._refused = {address: why for address, why in self._refused.items() if address in found}
            new = found.keys() - self._ready - self._asked - self._refused.keys()
            self._asked |= new
            ready = {address: found[address] for address in self._ready}
            self.news.put(Workers(ready, dict(self._refused), len(self._asked)))
        if new:
            self._spawn(lambda: self._receive(list(new), found))

    def _receive(self, addresses: list[str], found: Mapping[str, int]) -> None:
        """Make workers ready."""
        try:
            token = self._token()
        except MLOpsError as error:
            answers: dict[str, Any] = dict.fromkeys(addresses, error)
        else:
            answers = self._ask(addresses, host.receive, self._document, token)
        with self._lock:
            for address in addresses:
                self._asked.discard(address)
                answer = answers.get(address, OSError())
                if answer is None:
                    self._ready.add(address)
                elif isinstance(answer, str):
                    self._refused[address] = answer
                elif not isinstance(answer, (OSError, MLOpsError)):  # those are tried again
                    self._refused[address] = f"{type(answer).__name__}: {answer}"
            ready = {address: found[address] for address in self._ready if address in found}
            self.news.put(Workers(ready, dict(self._refused), len(self._asked)))

    def _renew(self) -> None:
        token: str | None = None
        with contextlib.suppress(MLOpsError):  # a service that is away for a while; the last one still counts
            token = self._token()
        self._ask(None, host.renew, token)

    def _forget_all(self) -> None:
        with self._lock:
            self._ready, self._asked, self._refused = set(), set(), {}

    def _ask(
        self, addresses: list[str] | None, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Call a function of :mod:`.host` on workers; what each gave, or the error that it raised."""
        try:
            answers: dict[str, Any] = self._client.run(
                function, self._key, *args, workers=addresses, on_error="return", **kwargs
            )
        except Exception:  # noqa: BLE001 - the scheduler is gone in one of many ways, which is noticed elsewhere
            return {}
        return answers

    @staticmethod
    def _spawn(function: Callable[[], object]) -> threading.Thread:
        """Without waiting: a worker that hangs may not answer for minutes."""
        thread = threading.Thread(target=function, name="mlops-dask-call", daemon=True)
        thread.start()
        return thread


def _ended(run_id: str, future: Future[bytes]) -> Ended:
    try:
        answer = future.result()
        return Ended(run_id, answer) if isinstance(answer, bytes) else Ended(run_id, None, "its answer is none")
    except Exception as error:  # noqa: BLE001 - also what the worker raised
        return Ended(run_id, None, f"{type(error).__name__}: {error}")
