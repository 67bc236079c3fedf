"""What the service tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from jupyter_mlops.tracker.embedded import EmbeddedTracker

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """The counters of one service; several in one process do not meet."""

    def __init__(self, tracker: EmbeddedTracker) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "mlops_request_seconds",
            "Time from a request's head to the end of its answer",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._answers = Counter("mlops_requests", "Answered requests", ["operation", "status"], registry=self._registry)
        self._registry.register(_Writes(tracker))

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._seconds.labels(operation).observe(seconds)
        self._answers.labels(operation, str(status)).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Writes:
    """The group-commit writer, read when it is asked for."""

    def __init__(self, tracker: EmbeddedTracker) -> None:
        self._tracker = tracker

    def collect(self) -> Iterator[Metric]:
        writer = self._tracker.writer
        yield CounterMetricFamily("mlops_commits", "Transactions that wrote runs", value=writer.commits)
        yield CounterMetricFamily("mlops_committed_calls", "Calls that they wrote", value=writer.committed)
        yield GaugeMetricFamily("mlops_waiting_calls", "Calls that wait for a transaction", value=writer.waiting)
