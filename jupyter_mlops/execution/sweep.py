"""A sweep: one notebook over many points of parameters. Each point is a run, child of one parent run.

The parent keeps everything that a resume needs: the exact notebook (``notebook/source.ipynb``, from which every child
runs, so that an edit half-way does not divide the sweep) and the plan (``sweep.json``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound
from jupyter_mlops.core.formats import now
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.parameters import Declared, check
from jupyter_mlops.core.reasons import cell_name
from jupyter_mlops.core.records import (
    Batch,
    Json,
    NewRun,
    Progress,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.redaction import redact_params
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.core.spaces import Axis, parse_grid, points
from jupyter_mlops.core.values import param
from jupyter_mlops.execution.claim import Claim
from jupyter_mlops.execution.engine import Engine, NotebookTask, Remark, TaskEvent
from jupyter_mlops.recording.cancellation import why_cancelled
from jupyter_mlops.recording.heartbeat import SILENT_SECONDS, beating
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker.process import is_alive, this_runner

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

PLAN = "sweep.json"
SOURCE = "notebook/source.ipynb"
POINT_TAG = "mlops.sweep.point"
"""On a child: the number of its point, from 0."""
BEST_TAG = "mlops.sweep.best"
"""On the parent: the id of the best child by the plan's metric."""
GRID_TAG = "mlops.sweep.grid"
"""On the parent: the space as it was written."""


class SweepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep does; kept with its parent run."""

    notebook: str
    """Absolute path of the notebook when the sweep began."""
    grid: tuple[str, ...]
    """The space as it was written, one entry a parameter."""
    points: tuple[dict[str, Json], ...]
    """The values of the swept parameters, checked; a point's place is its number."""
    fixed: dict[str, Json] = {}
    """The values given to all points, without secrets."""
    secrets: tuple[str, ...] = ()
    """Fixed parameters whose values are secret and therefore not kept: a resume asks for them."""
    sample: int | None = None
    seed: int | None = None
    kernel_name: str | None = None
    cwd: str
    """Where the notebooks run."""
    execution_timeout: float | None = None
    tags: dict[str, str] = {}
    """Given to all children."""
    metric: str | None = None
    """What children are compared by."""
    maximize: bool = True
    submitted_by: str | None = None
    """See :attr:`jupyter_mlops.core.records.Run.submitted_by`."""


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
    failed: int = 0
    underway: dict[str, Progress] = {}
    """How far the points in progress are, by run."""
    best: Run | None = None

    @property
    def ended(self) -> int:
        return self.finished + self.failed

    @property
    def fraction(self) -> float:
        """The part of the work that is done, cells of unfinished points counted."""
        partial = sum(progress.done / progress.total for progress in self.underway.values() if progress.total)
        return (self.ended + partial) / self.total


OnEvent = Callable[[Standing, "Run | None"], None]
"""Called at each event; with the child's run when it has ended."""


class Sweep:
    """A sweep's parent run, its plan and where it stands. One process at a time has it, until it is executed."""

    def __init__(self, tracker: Tracker, run: Run, plan: SweepPlan, secrets: Mapping[str, Json], claim: Claim) -> None:
        self._claim = claim
        self.tracker = tracker
        self.run = run
        self.plan = plan
        self.secrets = secrets
        self._attempts: Counter[int] = Counter()
        self.standing = Standing(total=len(plan.points))
        self._done: set[int] = set()
        for child in tracker.runs.children(run.run_id):
            point = _point(child)
            self._attempts[point] += 1
            if child.status is RunStatus.FINISHED and point not in self._done:
                self._done.add(point)
                self.standing.finished += 1
                self._consider(child)

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
            plan = _plan(tracker, run, secrets)
            return cls(tracker, run, plan, secrets, claim)
        except BaseException:
            claim.release()
            raise

    @property
    def missing(self) -> list[int]:
        """The numbers of the points that have no finished run."""
        return [point for point in range(len(self.plan.points)) if point not in self._done]

    def execute(
        self,
        engine: Engine,
        place: Place,
        *,
        jobs: int,
        on_event: OnEvent | None = None,
        on_remark: Callable[[str], None] | None = None,
    ) -> Run:
        """Run the missing points and bring the parent to its end: FINISHED, or FAILED when points failed.

        Raises
        ------
        KeyboardInterrupt
            As it came; the points in progress and the parent have ended KILLED.
        """
        try:
            with RunFolder(self.run.run_id) as folder, beating(self.tracker, self.run.run_id):
                return self._execute(folder.scratch, engine, place, jobs, on_event, on_remark)
        finally:
            self._claim.release()

    def _execute(
        self,
        folder: Path,
        engine: Engine,
        place: Place,
        jobs: int,
        on_event: OnEvent | None,
        on_remark: Callable[[str], None] | None,
    ) -> Run:
        self._change(RunChange(status=RunStatus.RUNNING, runner=this_runner(), progress=self._progress()))
        reasons: Counter[str] = Counter()
        try:
            notebook = folder / Path(self.plan.notebook).name
            notebook.write_bytes(b"".join(self.tracker.artifacts.open(self.run.run_id, SOURCE)))
            missing = self.missing
            tasks = (self._task(point, notebook, place) for point in missing)
            with closing(engine.run(tasks, jobs=max(1, min(jobs, len(missing))))) as events:
                for event in events:
                    if isinstance(event, Remark):
                        if on_remark is not None:
                            on_remark(event.text)
                        continue
                    child = self._take(event)
                    if event.reason is not None:
                        reasons[_what(event.reason)] += 1
                    if on_event is not None:
                        on_event(self.standing, child)
        except KeyboardInterrupt:
            reason = why_cancelled(place.cancel_note, "interrupted")
            self._end(RunStatus.KILLED if reason.kind is ReasonKind.CANCELLED else RunStatus.FAILED, reason)
            raise
        except BaseException as error:
            message = reason_text(f"{type(error).__name__}: {error}")
            self._end(RunStatus.FAILED, Reason(kind=ReasonKind.ERROR, message=message))
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

    def _task(self, point: int, notebook: Path, place: Place) -> NotebookTask:
        plan = self.plan
        number = f"{point + 1:0{len(str(len(plan.points)))}d}"
        attempt = f".{self._attempts[point] + 1}" if self._attempts[point] else ""
        return NotebookTask(
            run_id=new_id(),
            experiment_id=self.run.experiment_id,
            tracking_url=place.tracking_url,
            artifacts_url=place.artifacts_url,
            notebook=str(notebook),
            source=plan.notebook,
            parameters={**plan.fixed, **self.secrets, **plan.points[point]},
            swept=tuple(plan.points[point]),
            name=f"{self.run.name}-{number}{attempt}",
            parent_run_id=self.run.run_id,
            kernel_name=plan.kernel_name,
            cwd=plan.cwd,
            execution_timeout=plan.execution_timeout,
            tags={**plan.tags, POINT_TAG: str(point)},
            submitted_by=plan.submitted_by,
            cancel_note=place.cancel_note,
        )

    def _take(self, event: TaskEvent) -> Run | None:
        """Note an event; the child's run when it has ended."""
        if not event.status.ended:
            if event.progress is not None:
                self.standing.underway[event.run_id] = event.progress
            return None
        self.standing.underway.pop(event.run_id, None)
        child = self.tracker.runs.get(event.run_id)
        if event.status is RunStatus.FINISHED:
            self.standing.finished += 1
            self._done.add(_point(child))
            self._consider(child)
        else:
            self.standing.failed += 1
        self._change(RunChange(progress=self._progress()))
        return child

    def _consider(self, child: Run) -> None:
        best = self.standing.best
        if ranked([child], self.plan) and (best is None or ranked([best, child], self.plan)[0] is child):
            self.standing.best = child

    def _progress(self) -> Progress:
        return Progress(done=self.standing.ended, total=self.standing.total, failed=self.standing.failed)

    def _end(self, status: RunStatus, reason: Reason | None = None) -> Run:
        if self.standing.best is not None:
            best = Tag(BEST_TAG, self.standing.best.run_id)
            self.tracker.runs.log(self.run.run_id, Batch(tags=(best,)))
        self._change(RunChange(status=status, reason=reason, progress=self._progress()))
        return self.run

    def _change(self, change: RunChange) -> None:
        self.run = self.tracker.runs.change(self.run.run_id, change)


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


def _plan(tracker: Tracker, run: Run, secrets: Mapping[str, Json]) -> SweepPlan:
    """The plan of a recorded sweep; ``InvalidValue`` when ``secrets`` are not those that it names."""
    document = b"".join(tracker.artifacts.open(run.run_id, PLAN))
    plan = msgspec.convert(json.loads(document), SweepPlan)
    lacking = [name for name in plan.secrets if name not in secrets]
    if lacking:
        raise InvalidValue(
            f"{run.name} was given secrets, whose values are not recorded; give them again: "
            + " ".join(f"-p {name} VALUE" for name in lacking)
        )
    kept = [name for name in secrets if name not in plan.secrets]
    if kept:
        raise InvalidValue(f"the parameters of a sweep stay as they were when it began, also {', '.join(kept)}")
    return plan


def record_sweep(
    tracker: Tracker,
    experiment_id: str,
    plan: SweepPlan,
    notebook: Path | BytesIO,
    *,
    secrets: Mapping[str, Json],
    name: str | None = None,
    run_id: str | None = None,
    waits: bool = False,
) -> Run:
    """Record the parent run of a sweep over ``notebook``.

    It is SCHEDULED when it ``waits`` for another process to load and execute it; else this process is to do so.
    """
    tracker.artifacts.check_location()
    tags = {**plan.tags, GRID_TAG: " ".join(plan.grid)}
    run = tracker.runs.create(
        NewRun(
            experiment_id=experiment_id,
            kind=RunKind.SWEEP,
            run_id=run_id,
            name=name,
            status=RunStatus.SCHEDULED if waits else RunStatus.RUNNING,
            source=plan.notebook,
            submitted_by=plan.submitted_by,
            runner=None if waits else this_runner(),
            batch=Batch(
                params=redact_params(param(key, value) for key, value in {**plan.fixed, **secrets}.items()),
                tags=tuple(Tag(key, value) for key, value in tags.items()),
            ),
        )
    )
    tracker.artifacts.put(run.run_id, SOURCE, notebook)
    document = json.dumps(msgspec.to_builtins(plan), indent=1).encode()
    tracker.artifacts.put(run.run_id, PLAN, BytesIO(document))
    return run


def plan_points(
    declared: Sequence[Declared] | None,
    grid: Sequence[str],
    *,
    sample: int | None,
    seed: int | None,
    fixed: Collection[str],
) -> tuple[dict[str, Json], ...]:
    """The points of a space as it is written, each checked against the notebook's parameters.

    Raises
    ------
    InvalidValue
        The space cannot be read, a value does not fit, an axis is among the ``fixed`` parameters or holds secrets.
    """
    axes = parse_grid(grid, declared)
    for axis in axes:
        check_axis(declared, axis, fixed)
    return tuple(points(axes, sample, seed))


def check_axis(declared: Sequence[Declared] | None, axis: Axis, fixed: Collection[str]) -> None:
    """Raise ``InvalidValue`` unless the notebook takes each value of the axis, as :func:`plan_points` has it."""
    if axis.name in fixed:
        raise InvalidValue(f"the parameter {axis.name!r} is given twice, as an axis and with one value; choose one")
    for value in axis.values:
        check(declared, {axis.name: value})
        if without_secrets({axis.name: value})[1]:
            raise InvalidValue(
                f"the parameter {axis.name!r} holds secrets, which are not recorded: give it one value, which is no "
                "axis"
            )


def without_secrets(values: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Parameters in two parts: those that a plan keeps, and secrets."""
    redacted = {
        found.key for found in redact_params(param(key, value) for key, value in values.items()) if found.redacted
    }
    plain = {key: value for key, value in values.items() if key not in redacted}
    return plain, {key: value for key, value in values.items() if key in redacted}


def ranked(runs: Sequence[Run], plan: SweepPlan) -> list[Run]:
    """The finished runs that have the plan's metric as a number, best first; ties in the given order."""
    values: dict[str, float] = {}
    for run in runs:
        for metric in run.metrics:
            if metric.key == plan.metric and metric.value == metric.value and run.status is RunStatus.FINISHED:
                values[run.run_id] = metric.value
    found = [run for run in runs if run.run_id in values]
    return sorted(found, key=lambda run: -values[run.run_id] if plan.maximize else values[run.run_id])


def _what(reason: Reason) -> str:
    """What points have in common that failed for the same reason."""
    return reason.kind.value if reason.cell is None else f"{reason.kind.value} in {cell_name(reason.cell)}"


def _point(child: Run) -> int:
    for tag in child.tags:
        if tag.key == POINT_TAG:
            return int(tag.value)
    raise NotFound(f"{child.name} belongs to a sweep but its tag {POINT_TAG} is gone; set it to its point's number")
