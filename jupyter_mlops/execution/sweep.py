"""A sweep: one notebook over many points of parameters. Each point is a run, child of one parent run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound, Unavailable
from jupyter_mlops.core.formats import now, number, printable
from jupyter_mlops.core.reasons import cell_name
from jupyter_mlops.core.records import (
    Batch,
    Json,
    Progress,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.rules import parse_rules
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.core.run_files import SOURCE
from jupyter_mlops.core.spaces import Point
from jupyter_mlops.execution.claim import Claim
from jupyter_mlops.execution.course import Course
from jupyter_mlops.execution.engine import Engine, NotebookTask, Remark, TaskEvent
from jupyter_mlops.execution.patience import patiently
from jupyter_mlops.execution.plan import (
    BEST_TAG,
    POINT_TAG,
    SweepPlan,
    load_plan,
    ranked,
    record_sweep,
    was_stopped,
)
from jupyter_mlops.recording.cancellation import why_cancelled
from jupyter_mlops.recording.heartbeat import SILENT_SECONDS, beating
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker.process import is_alive, this_runner

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the runs go, as an engine's processes must know it."""

    tracking_url: str
    artifacts_url: str | None = None
    cancel_note: str | None = None
    """See :attr:`NotebookTask.cancel_note`; for all runs of the sweep."""


class Standing(msgspec.Struct, kw_only=True):
    """How a sweep stands."""

    total: int
    finished: int = 0
    stopped: int = 0
    """By a rule."""
    failed: int = 0
    underway: dict[str, Progress] = {}
    """How far the points in progress are, by run."""
    best: Run | None = None

    @property
    def ended(self) -> int:
        return self.finished + self.stopped + self.failed

    @property
    def fraction(self) -> float:
        """The part of the work that is done, cells of unfinished points counted."""
        partial = sum(progress.done / progress.total for progress in self.underway.values() if progress.total)
        return (self.ended + partial) / self.total

    def told(self, metric: str | None) -> str:
        """In words, such as ``3 of 20 done, 1 failed, best auc 0.9 (brave-otter-418-02)``."""
        words = [f"{self.ended} of {self.total} done"]
        words += [f"{count} {what}" for count, what in ((self.stopped, "stopped"), (self.failed, "failed")) if count]
        if self.best is not None:
            value = next(one.value for one in self.best.metrics if one.key == metric)
            words.append(f"best {printable(metric or '')} {number(value)} ({printable(self.best.name)})")
        return ", ".join(words)


OnEvent = Callable[[Standing, "Run | None"], None]
"""Called at each event; with the child's run when it has ended."""
OnRemark = Callable[[str], None]
"""Called with a sentence for people."""


def _unheard(*_: object) -> None:
    """For those who do not listen."""


class Sweep:
    """A sweep's parent run, its plan and where it stands. One process at a time has it, until it is executed."""

    def __init__(self, tracker: Tracker, run: Run, plan: SweepPlan, secrets: Mapping[str, Json], claim: Claim) -> None:
        self._claim = claim
        self._waits = True
        """For a store that is away."""
        self.tracker = tracker
        self.run = run
        self.plan = plan
        self.secrets = secrets
        self._rules = parse_rules(plan.stop, optimizes=plan.trials is not None)
        self._past = tracker.runs.children(run.run_id)
        self._attempts: Counter[int] = Counter()
        self.standing = Standing(total=plan.total)
        self._done: set[int] = set()
        """Points that need no further run."""
        self._failed: set[int] = set()
        """Points that failed in this execution, and are not tried again."""
        for child in self._past:
            point = _point(child)
            self._attempts[point] += 1
            if point not in self._done:
                self._count(child)

    @classmethod
    def begin(
        cls,
        tracker: Tracker,
        experiment_id: str,
        plan: SweepPlan,
        *,
        secrets: Mapping[str, Json],
        name: str | None = None,
    ) -> Sweep:
        """Record the parent run with all that a resume needs, but not the values of ``secrets``."""
        run = record_sweep(tracker, experiment_id, plan, Path(plan.notebook), secrets=secrets, name=name)
        return cls(tracker, run, plan, secrets, Claim(run))

    @classmethod
    def load(cls, tracker: Tracker, run: Run, *, secrets: Mapping[str, Json]) -> Sweep:
        """The sweep recorded by ``run``.

        Raises
        ------
        InvalidValue
            ``run`` is no sweep, or ``secrets`` are not those that its plan names.
        Conflict
            It is going on now.
        """
        if run.kind is not RunKind.SWEEP:
            raise InvalidValue(f"{run.name} is a {run.kind.value} run, not a sweep")
        claim = Claim(run)
        try:
            # As it is now that nobody else goes on with it.
            run = tracker.runs.get(run.run_id)
            _refuse_driven(run)
            plan = load_plan(tracker, run, secrets)
            return cls(tracker, run, plan, secrets, claim)
        except BaseException:
            claim.release()
            raise

    @property
    def missing(self) -> int:
        """How many points have no run that finished or was stopped by a rule."""
        return max(0, self.plan.total - len(self._done))

    def execute(
        self,
        engine: Engine,
        place: Place,
        *,
        jobs: int | None = None,
        on_event: OnEvent = _unheard,
        on_remark: OnRemark = _unheard,
    ) -> Run:
        """Run the missing points and bring the parent to its end: FINISHED, or FAILED when points failed. Points that a
        rule stops have not failed, nor have those that a budget leaves out. At most ``jobs`` run at once; when None, as
        many as the engine usually does.

        Raises
        ------
        KeyboardInterrupt
            As it came; the points in progress and the parent have ended KILLED.
        """
        try:
            with RunFolder(self.run.run_id) as folder, beating(self.tracker, self.run.run_id):
                jobs = jobs or engine.usual_jobs or self.missing
                return self._execute(folder.scratch, engine, place, jobs, on_event, on_remark)
        finally:
            self._claim.release()

    def _execute(
        self,
        folder: Path,
        engine: Engine,
        place: Place,
        jobs: int,
        on_event: OnEvent,
        on_remark: OnRemark,
    ) -> Run:
        self._change(RunChange(status=RunStatus.RUNNING, runner=this_runner(), progress=self._progress()))
        reasons: Counter[str] = Counter()
        try:
            notebook = folder / Path(self.plan.notebook).name
            notebook.write_bytes(b"".join(self.tracker.artifacts.open(self.run.run_id, SOURCE)))
            with self._course(folder) as course:
                # Once, unless points are to be run again after the engine took the last one.
                while course.goes_on:
                    tasks = (self._task(*point, notebook, place) for point in course.points())
                    at_once = max(1, min(jobs, self.missing))
                    with closing(engine.run(tasks, jobs=at_once, stops=course.watch)) as events:
                        for event in events:
                            if isinstance(event, Remark):
                                on_remark(event.text)
                                continue
                            child = self._take(event, course)
                            if child is not None and child.reason is not None and _point(child) in self._failed:
                                reasons[_what(child.reason)] += 1
                            on_event(self.standing, child)
                if course.cut_short is not None:
                    on_remark(course.cut_short)
        except KeyboardInterrupt:
            reason = why_cancelled(place.cancel_note, "interrupted")
            self._end_now(RunStatus.KILLED if reason.kind is ReasonKind.CANCELLED else RunStatus.FAILED, reason)
            raise
        except BaseException as error:
            message = reason_text(f"{type(error).__name__}: {error}")
            self._end_now(RunStatus.FAILED, Reason(kind=ReasonKind.ERROR, message=message))
            raise
        if not self.standing.failed:
            return self._end(RunStatus.FINISHED)
        told = ", ".join(f"{what} ({count})" for what, count in reasons.most_common())
        message = f"{self.standing.failed} of {self.standing.total} points failed: {told}"
        return self._end(RunStatus.FAILED, Reason(kind=ReasonKind.ERROR, message=reason_text(message)))

    def children(self) -> list[Run]:
        """The latest run of each point that has one, by point."""
        latest = {_point(child): child for child in self.tracker.runs.children(self.run.run_id)}
        return [latest[point] for point in sorted(latest)]

    @contextmanager
    def _course(self, folder: Path) -> Iterator[Course]:
        """One execution; its study is stored however that ends."""
        missing = [point for point in range(self.plan.total) if point not in self._done]
        if self.plan.trials is not None:
            # What failed is not tried again: the search goes on elsewhere.
            begun = max(self._attempts, default=-1) + 1
            missing = list(range(begun, begun + self.missing))
        course = Course(self.tracker, self.plan, self._rules, missing, self._past)
        try:
            yield course
        finally:
            course.save(self.run.run_id, folder)

    def _task(self, point: int, run_id: str, values: Point, notebook: Path, place: Place) -> NotebookTask:
        plan = self.plan
        numbered = f"{point + 1:0{len(str(plan.total))}d}"
        attempt = f".{self._attempts[point] + 1}" if self._attempts[point] else ""
        return NotebookTask(
            run_id=run_id,
            experiment_id=self.run.experiment_id,
            tracking_url=place.tracking_url,
            artifacts_url=place.artifacts_url,
            notebook=str(notebook),
            source=plan.notebook,
            parameters={**plan.fixed, **self.secrets, **values},
            swept=tuple(values),
            decides=plan.trials is not None,
            name=f"{self.run.name}-{numbered}{attempt}",
            parent_run_id=self.run.run_id,
            kernel_name=plan.kernel_name,
            cwd=plan.cwd,
            execution_timeout=plan.execution_timeout,
            tags={**plan.tags, POINT_TAG: str(point)},
            submitted_by=plan.submitted_by,
            cancel_note=place.cancel_note,
        )

    def _take(self, event: TaskEvent, course: Course) -> Run | None:
        """Note an event; the child's run when it has ended."""
        if not event.status.ended:
            if event.progress is not None:
                self.standing.underway[event.run_id] = event.progress
            return None
        self.standing.underway.pop(event.run_id, None)
        child = patiently(lambda: self.tracker.runs.get(event.run_id))
        course.tell(child)
        if not self._count(child):
            point = _point(child)
            if course.again(point, child):
                self._attempts[point] += 1
            else:
                self._failed.add(point)
                self.standing.failed += 1
        self._change(RunChange(progress=self._progress()))
        return child

    def _count(self, child: Run) -> bool:
        """Count a child when its point needs no further run; whether it is so."""
        if child.status is RunStatus.FINISHED:
            self.standing.finished += 1
            self._consider(child)
        elif was_stopped(child):
            self.standing.stopped += 1
        else:
            return False
        self._done.add(_point(child))
        return True

    def _consider(self, child: Run) -> None:
        best = self.standing.best
        if ranked([child], self.plan) and (best is None or ranked([best, child], self.plan)[0] is child):
            self.standing.best = child

    def _progress(self) -> Progress:
        return Progress(done=self.standing.ended, total=self.standing.total, failed=self.standing.failed)

    def _end(self, status: RunStatus, reason: Reason | None = None) -> Run:
        if self.standing.best is not None:
            best = Batch(tags=(Tag(BEST_TAG, self.standing.best.run_id),))
            self._call(lambda: self.tracker.runs.log(self.run.run_id, best))
        self._change(RunChange(status=status, reason=reason, progress=self._progress()))
        return self.run

    def _end_now(self, status: RunStatus, reason: Reason) -> None:
        """End the record without waiting for a store that is away: it hears of that from the next to recover."""
        self._waits = False
        with suppress(Unavailable):
            self._end(status, reason)

    def _call(self, call: Callable[[], T]) -> T:
        return patiently(call) if self._waits else call()

    def _change(self, change: RunChange) -> None:
        self.run = self._call(lambda: self.tracker.runs.change(self.run.run_id, change))


def _refuse_driven(run: Run) -> None:
    """``Conflict`` while another process drives the sweep."""
    if run.status.ended or run.runner is None:
        return
    alive = is_alive(run.runner)
    # Another host tells by its heartbeat; often that host is the pod before a restart.
    if alive or (alive is None and now() - (run.heartbeat or 0) < 1000 * SILENT_SECONDS):
        raise Conflict(
            f"the sweep {run.name} is still going on (process {run.runner.pid} on {run.runner.host}); it can be "
            "resumed when that has ended"
        )


def _what(reason: Reason) -> str:
    """What points have in common that failed for the same reason."""
    return reason.kind.value if reason.cell is None else f"{reason.kind.value} in {cell_name(reason.cell)}"


def _point(child: Run) -> int:
    for tag in child.tags:
        if tag.key == POINT_TAG:
            return int(tag.value)
    raise NotFound(f"{child.name} belongs to a sweep but its tag {POINT_TAG} is gone; set it to its point's number")
