"""What Jupyter Server's own ``/metrics`` tells of spools: how much was logged on this machine and is not stored yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric

from jupyter_mlops.tracker.undelivered import held_bytes


class SpoolMetrics:
    """Tells it from :meth:`start` to :meth:`stop`."""

    def start(self) -> None:
        # Of several servers in one process, one is enough: it is about the machine's spools.
        with suppress(ValueError):
            REGISTRY.register(self)

    def stop(self) -> None:
        with suppress(KeyError):
            REGISTRY.unregister(self)

    def describe(self) -> list[Metric]:
        """What is told, for the registry, which would have it measured otherwise."""
        return [self._bytes(0)]

    def collect(self) -> Iterator[Metric]:
        yield self._bytes(held_bytes())

    def _bytes(self, value: int) -> Metric:
        return GaugeMetricFamily("mlops_spool_bytes", "Bytes that were logged and wait to be stored", value=value)
