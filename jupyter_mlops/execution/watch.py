"""Looks at the runs of a sweep while they go on, and says which of them a rule stops."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jupyter_mlops.core.compare import SYSTEM_METRICS
from jupyter_mlops.core.errors import NotFound, Unavailable
from jupyter_mlops.core.formats import duration, number
from jupyter_mlops.core.records import MetricPoint, MetricSummary, Reason, ReasonKind, Run
from jupyter_mlops.core.rules import Bound, Idle, NotFinite, Pruner, Rule, broken
from jupyter_mlops.execution.patience import patiently

if TYPE_CHECKING:
    from jupyter_mlops.execution.study import Study
    from jupyter_mlops.tracker.protocol import Tracker

MOST_SHARE = 0.05
"""Of the time that looking may take: with many runs or a slow store, it is done less often."""
CHART_WIDTH = 2500
"""Four times as many points of a metric are compared at once; of more, only the characteristic ones."""


class Watch:
    """The rules of one sweep at work. Calling it is what an engine asks for: see
    :data:`jupyter_mlops.execution.engine.Stops`."""

    def __init__(self, tracker: Tracker, rules: Sequence[Rule], *, study: Study | None, metric: str | None) -> None:
        self._tracker = tracker
        self._rules = rules
        self._study = study
        self._metric = metric
        self._prunes = any(isinstance(rule, Pruner) for rule in rules)
        self._signs: dict[str, tuple[object, float]] = {}
        """By run in progress: what was seen of it last, and when that was new."""
        self._found: dict[str, Reason] = {}
        self._not_before = 0.0

    def begin(self, run_id: str) -> None:
        """The run is to be looked at from now on."""
        if self._rules:
            self._signs[run_id] = (None, time.monotonic())

    def end(self, run: Run) -> None:
        """The run has ended; what it logged since the last look is noted for those that are compared with it."""
        self._signs.pop(run.run_id, None)
        self._found.pop(run.run_id, None)
        if self._prunes:
            patiently(lambda: self._report(run))

    def __call__(self) -> Mapping[str, Reason]:
        began = time.monotonic()
        if began >= self._not_before:
            for run_id in self._signs.keys() - self._found.keys():
                why = self._why(run_id)
                if why is not None:
                    self._found[run_id] = Reason(kind=ReasonKind.STOPPED, message=why)
            took = time.monotonic() - began
            self._not_before = began + took / MOST_SHARE
        return self._found

    def _why(self, run_id: str) -> str | None:
        """Why a rule stops the run; None when none does."""
        try:
            run = self._tracker.runs.get(run_id)
            if self._prunes:
                self._report(run)
        except (NotFound, Unavailable):  # it has not begun, or the store is away for a while
            return None
        at = time.monotonic()
        logged = [(one.key, one.count) for one in run.metrics if not one.key.startswith(SYSTEM_METRICS)]
        sign = (run.progress, logged)
        if sign != self._signs[run_id][0]:
            self._signs[run_id] = (sign, at)
        for rule in self._rules:
            why = self._broken(rule, run, at - self._signs[run_id][1])
            if why is not None:
                return why
        return None

    def _broken(self, rule: Rule, run: Run, idle: float) -> str | None:
        if isinstance(rule, (NotFinite, Bound)):
            return broken(rule, run.metrics)
        if isinstance(rule, Idle):
            if idle < rule.seconds:
                return None
            return f"no cell ended and no metric was logged for {duration(1000 * rule.seconds)}"
        summary = self._summary(run)
        if summary is None or self._study is None or not self._study.is_hopeless(run.run_id):
            return None
        return (
            f"{summary.key} is {number(summary.value)} at step {summary.step}: hopeless beside the other runs "
            f"({rule.name} pruner)"
        )

    def _report(self, run: Run) -> None:
        summary = self._summary(run)
        if summary is None or self._study is None:
            return
        last = self._study.last_step(run.run_id)
        if summary.step > last:
            self._study.report(run.run_id, history(self._tracker, run, summary.key, first=last + 1))

    def _summary(self, run: Run) -> MetricSummary | None:
        return next((summary for summary in run.metrics if summary.key == self._metric), None)


def history(tracker: Tracker, run: Run, metric: str, *, first: int = 0) -> tuple[MetricPoint, ...]:
    """The points of the metric from step ``first`` on, by step."""
    return tracker.runs.sampled(run.run_id, metric, CHART_WIDTH, first=first)
