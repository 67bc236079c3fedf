"""One execution of a sweep: the points that it begins, one after another, while there are any and there is time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_mlops.core.formats import duration
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import MetricPoint, ReasonKind, Run
from jupyter_mlops.core.rules import Pruner, Rule
from jupyter_mlops.core.spaces import Point
from jupyter_mlops.execution.plan import SweepPlan, check_search_possible
from jupyter_mlops.execution.watch import Watch, history

if TYPE_CHECKING:
    from jupyter_mlops.execution.study import Study
    from jupyter_mlops.tracker.protocol import Tracker


class Course:
    """What happens between the beginning of an execution and its end.

    Parameters
    ----------
    missing
        The numbers of the points to run. Those that the plan does not list, a search finds. A point whose runner is
        lost is missing again, as often as the plan allows.
    past
        Earlier runs of the sweep, oldest first.

    Raises
    ------
    MissingDependency
        The plan is a search, and what that needs is not installed.
    """

    def __init__(
        self, tracker: Tracker, plan: SweepPlan, rules: Sequence[Rule], missing: Sequence[int], past: Sequence[Run]
    ) -> None:
        self._tracker = tracker
        self._plan = plan
        self._missing = deque(missing)
        self._retried: Counter[int] = Counter()
        self._began = time.monotonic()
        self._not_begun = 0
        self._study: Study | None = None
        if plan.trials is not None:
            pruner = next((rule.name for rule in rules if isinstance(rule, Pruner)), None)
            check_search_possible(plan.sampler)
            from jupyter_mlops.execution.study import Study

            known = [(run, self._history(run) if pruner else ()) for run in past if run.status.ended]
            self._study = Study(plan, pruner=pruner, past=known)
        self.watch = Watch(tracker, rules, study=self._study, metric=plan.metric)

    def points(self) -> Iterator[tuple[int, str, Point]]:
        """Number, run and values of each point, each when it is asked for."""
        while self._missing:
            if self._plan.budget is not None and time.monotonic() - self._began >= self._plan.budget:
                self._not_begun = len(self._missing)
                return
            number = self._missing.popleft()
            run_id = new_id()
            values = self._plan.points[number] if self._study is None else self._study.ask(run_id)
            self.watch.begin(run_id)
            yield number, run_id, values

    def tell(self, run: Run) -> None:
        """A run of the course has ended."""
        self.watch.end(run)
        if self._study is not None:
            self._study.tell(run)

    def again(self, number: int, run: Run) -> bool:
        """Whether the point of an ended run is to be run again, because its runner was lost."""
        lost = run.reason is not None and run.reason.kind is ReasonKind.RUNNER_LOST
        if not lost or self._retried[number] >= self._plan.retries:
            return False
        self._retried[number] += 1
        self._missing.append(number)
        return True

    @property
    def goes_on(self) -> bool:
        """Whether there are points to begin, and time for them."""
        return bool(self._missing) and not self._not_begun

    @property
    def cut_short(self) -> str | None:
        """Why points were not begun, in a sentence; None when all were."""
        if not self._not_begun:
            return None
        budget = duration(1000 * (self._plan.budget or 0))
        return f"The budget of {budget} is used up: {self._not_begun} of {self._plan.total} points were not begun."

    def save(self, run_id: str, folder: Path) -> None:
        """Store the study, if there is one, with the sweep's parent."""
        if self._study is not None:
            from jupyter_mlops.execution.study import STUDY

            path = folder / STUDY
            self._study.save(path)
            self._tracker.artifacts.put(run_id, STUDY, BytesIO(path.read_bytes()))

    def _history(self, run: Run) -> Sequence[MetricPoint]:
        logged = self._plan.metric is not None and any(metric.key == self._plan.metric for metric in run.metrics)
        return history(self._tracker, run, self._plan.metric or "") if logged else ()
