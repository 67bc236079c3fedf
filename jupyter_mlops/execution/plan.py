"""What a sweep is to do, and how its parent run keeps that.

The parent keeps everything that a resume needs: the exact notebook (``notebook/source.ipynb``, from which every child
runs, so that an edit half-way does not divide the sweep) and the plan (``sweep.json``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.core.errors import InvalidValue, MissingDependency, MLOpsError
from jupyter_mlops.core.parameters import Declared, check
from jupyter_mlops.core.records import Batch, Json, NewRun, Reason, ReasonKind, Run, RunChange, RunKind, RunStatus, Tag
from jupyter_mlops.core.redaction import redact_params
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.core.run_files import SOURCE
from jupyter_mlops.core.spaces import MOST_POINTS, Axis
from jupyter_mlops.core.values import param, short
from jupyter_mlops.tracker.process import this_runner

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

PLAN = "sweep.json"
POINT_TAG = "mlops.sweep.point"
"""On a child: the number of its point, from 0."""
BEST_TAG = "mlops.sweep.best"
"""On the parent: the id of the best child by the plan's metric."""
GRID_TAG = "mlops.sweep.grid"
"""On the parent: the space as it was written."""
SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "tpe": (),
    "gp": ("scipy", "torch"),
    "cmaes": ("cmaes",),
    "qmc": ("scipy",),
    "random": (),
}
"""How a search proposes points: Optuna's samplers, with the packages that they need besides."""
DEFAULT_SAMPLER = "tpe"
DEFAULT_TRIALS = 20
"""Of a search, unless told."""


class SweepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep does; kept with its parent run."""

    notebook: str
    """Absolute path of the notebook when the sweep began."""
    grid: tuple[str, ...]
    """The space as it was written, one entry a parameter."""
    points: tuple[dict[str, Json], ...] = ()
    """The values of the swept parameters, checked; a point's place is its number. A search finds its own."""
    space: tuple[Axis, ...] = ()
    """What a search proposes points of."""
    trials: int | None = None
    """How many points a search proposes; None for a sweep over ``points``."""
    sampler: str = DEFAULT_SAMPLER
    """How a search proposes them; one of :data:`SAMPLERS`."""
    stop: tuple[str, ...] = ()
    """Rules that stop a child, see :mod:`jupyter_mlops.core.rules`."""
    retries: int = 0
    """How often a point is begun again whose runner was lost."""
    budget: float | None = None
    """Seconds after which no further point begins, counted anew by a resume."""
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

    @property
    def total(self) -> int:
        """How many points there are to be."""
        return len(self.points) if self.trials is None else self.trials

    @property
    def swept(self) -> tuple[str, ...]:
        """The names of the parameters that differ."""
        return tuple(self.points[0]) if self.points else tuple(axis.name for axis in self.space)


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
    document = json.dumps(msgspec.to_builtins(plan), indent=1).encode()
    try:
        tracker.artifacts.put(run.run_id, SOURCE, notebook)
        tracker.artifacts.put(run.run_id, PLAN, BytesIO(document))
    except (MLOpsError, OSError) as error:
        # Nobody can go on with it.
        reason = Reason(kind=ReasonKind.ERROR, message=reason_text(f"it could not be recorded: {error}"))
        with suppress(MLOpsError):
            tracker.runs.change(run.run_id, RunChange(status=RunStatus.FAILED, reason=reason))
        raise
    return run


def read_plan(tracker: Tracker, run: Run) -> SweepPlan:
    """The plan of a recorded sweep; ``InvalidValue`` when what stands in its place is none."""
    document = b"".join(tracker.artifacts.open(run.run_id, PLAN))
    try:
        # Python's own codec, since msgspec's has no NaN.
        return msgspec.convert(json.loads(document), SweepPlan)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise InvalidValue(f"the file {PLAN} of {run.name} is no plan of a sweep: {short(str(error), 200)}") from error


def load_plan(tracker: Tracker, run: Run, secrets: Mapping[str, Json]) -> SweepPlan:
    """The plan of a recorded sweep; ``InvalidValue`` when there is none, or ``secrets`` are not those that it names."""
    plan = read_plan(tracker, run)
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


def check_search(space: Sequence[Axis], trials: int, sampler: str) -> None:
    """Raise unless a search can be made of it.

    Raises
    ------
    InvalidValue
        There is no such sampler, there are fewer points than ``trials``, or too many trials.
    MissingDependency
        Optuna, or what the sampler needs besides, is not installed.
    """
    if sampler not in SAMPLERS:
        raise InvalidValue(f"sampler {short(sampler)}: there are {', '.join(SAMPLERS)}")
    check_search_possible(sampler)
    if not 1 <= trials <= MOST_POINTS:
        raise InvalidValue(f"trials: {trials} are not possible; from 1 to {MOST_POINTS} are")
    size = math.prod(axis.size for axis in space)
    if trials > size:
        raise InvalidValue(f"trials: {trials} of a space of {size:.0f} points would repeat some; a grid runs each once")


def check_search_possible(sampler: str) -> None:
    """Raise ``MissingDependency`` unless Optuna and what the sampler needs besides are installed."""
    if find_spec("optuna") is None:
        raise MissingDependency("a search needs Optuna: pip install 'jupyter-mlops[optuna]'")
    lacking = [name for name in SAMPLERS[sampler] if find_spec(name) is None]
    if lacking:
        raise MissingDependency(f"the sampler {sampler!r} needs more packages: pip install {' '.join(lacking)}")


def check_axis(declared: Sequence[Declared] | None, axis: Axis, fixed: Collection[str]) -> None:
    """Raise ``InvalidValue`` unless the notebook takes each value of the axis, as a sweep of it needs."""
    if axis.name in fixed:
        raise InvalidValue(f"the parameter {axis.name!r} is given twice, as an axis and with one value; choose one")
    for value in axis.examples:
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


def was_stopped(run: Run) -> bool:
    """Whether a rule of its sweep stopped the run."""
    return run.status is RunStatus.KILLED and run.reason is not None and run.reason.kind is ReasonKind.STOPPED
