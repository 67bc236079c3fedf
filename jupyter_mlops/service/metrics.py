"""What the service tells Prometheus of itself, and of its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from jupyter_mlops._version import __version__
from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope
from jupyter_mlops.store.figures import Figures
from jupyter_mlops.store.groupcommit import SIZES
from jupyter_mlops.tracker.embedded import EmbeddedTracker

CONTENT_TYPE = CONTENT_TYPE_LATEST
USERS = "users"
"""The owner under which what belongs to single users is told, all together."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """The counters of one service; several in one process do not meet."""

    def __init__(self, tracker: EmbeddedTracker, executor: Executor) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "mlops_request_seconds",
            "Time from a request's head to the end of its answer",
            ["operation"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._answers = Counter("mlops_requests", "Answered requests", ["operation", "status"], registry=self._registry)
        self._attempts = Counter(
            "mlops_webhook_attempts",
            "Attempts to send a message of a webhook: delivered, to be repeated, or given up",
            ["result"],
            registry=self._registry,
        )
        for result in ("delivered", "repeated", "failed"):
            self._attempts.labels(result)
        Gauge("mlops_info", "The version of this service", ["version"], registry=self._registry).labels(
            __version__
        ).set(1)
        self._registry.register(_Work(tracker, executor))

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._seconds.labels(operation).observe(seconds)
        self._answers.labels(operation, str(status)).inc()

    def attempted(self, result: str) -> None:
        """Count one attempt to send a message of a webhook."""
        self._attempts.labels(result).inc()

    def text(self, principal: Principal, figures: Figures | None) -> bytes:
        """Everything that ``principal`` may know, in Prometheus' text format; ``figures`` is None while the store does
        not answer."""
        of_store = CollectorRegistry()
        of_store.register(_Store(figures, principal))
        return generate_latest(self._registry) + generate_latest(of_store)


class _Work:
    """The group-commit writer and the threads of requests, read when they are asked for."""

    def __init__(self, tracker: EmbeddedTracker, executor: Executor) -> None:
        self._tracker = tracker
        self._executor = executor

    def collect(self) -> Iterator[Metric]:
        writer = self._tracker.writer
        yield CounterMetricFamily("mlops_commits", "Transactions that wrote runs", value=writer.commits)
        yield CounterMetricFamily("mlops_committed_calls", "Calls that they wrote", value=writer.committed)
        sizes = zip([*map(float, SIZES), "+Inf"], accumulate([*writer.sizes, 0]), strict=True)
        yield HistogramMetricFamily(
            "mlops_commit_calls",
            "Calls that one transaction wrote",
            buckets=[(str(most), count) for most, count in sizes],
            sum_value=writer.committed,
        )
        yield GaugeMetricFamily("mlops_waiting_calls", "Calls that wait for a transaction", value=writer.waiting)
        if isinstance(self._executor, ThreadPoolExecutor):
            waiting = self._executor._work_queue.qsize()
            yield GaugeMetricFamily("mlops_waiting_requests", "Requests that wait for a thread", value=waiting)


class _Store:
    """What is known of the store."""

    def __init__(self, figures: Figures | None, principal: Principal) -> None:
        self._figures = figures
        self._principal = principal

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        yield GaugeMetricFamily("mlops_store_up", "Whether the store answers", value=float(figures is not None))
        if figures is None:
            return
        yield _labelled("mlops_active_runs", "Runs that go on or wait, by status", "status", figures.runs)
        yield _labelled("mlops_checks", "Checks of candidates that are not done", "state", figures.checks)
        yield _labelled("mlops_webhook_messages", "Messages that wait, or were given up", "state", figures.messages)
        yield _labelled("mlops_stored_bytes", "Bytes of files, by their owner", "owner", self._visible(figures.stored))

    def _visible(self, stored: Mapping[str, int]) -> dict[str, int]:
        """The bytes of the groups whose things the principal may read, and of users to administrators only: together
        they may be one."""
        visible: dict[str, int] = {}
        for owner, size in stored.items():
            if owner.startswith(GROUP_PREFIX):
                if self._principal.scope_on(owner) >= Scope.READ:
                    visible[owner] = size
            elif self._principal.scope >= Scope.ADMIN:
                visible[USERS] = visible.get(USERS, 0) + size
        return visible


def _labelled(name: str, told: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
