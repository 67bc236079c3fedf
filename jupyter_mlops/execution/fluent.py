"""``mlops.sweep``: running a notebook over a space of parameters from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.reasons import headline
from jupyter_mlops.core.records import Json, Run, RunStatus
from jupyter_mlops.core.spaces import Axis, Interval, make_axis
from jupyter_mlops.core.values import param, short
from jupyter_mlops.execution.engine import DEFAULT_ENGINE, load_engine
from jupyter_mlops.execution.plan import ranked
from jupyter_mlops.execution.request import SweepRequest
from jupyter_mlops.execution.sweep import Place, Standing, Sweep
from jupyter_mlops.recording.entities import LoggedRun
from jupyter_mlops.recording.session import current
from jupyter_mlops.recording.source import read_source


class SweepResult:
    """What came of a sweep."""

    def __init__(self, sweep: Sweep) -> None:
        children = sweep.children()
        best_first = ranked(children, sweep.plan)
        self.run = LoggedRun(sweep.run)
        """The sweep's own run, the parent of the others."""
        self.runs = [LoggedRun(child) for child in children]
        """The latest run of each point that was begun, by point."""
        self.best = LoggedRun(best_first[0]) if best_first else None
        """The best finished run by the sweep's metric; None without a metric, or where none logged it."""

    def __repr__(self) -> str:
        best = f", best {self.best.name}" if self.best is not None else ""
        return f"<SweepResult {self.run.name}: {self.run.status}, {len(self.runs)} runs{best}>"


@checked_call
def sweep(
    notebook: str | Path,
    space: Mapping[str, Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    optimize: str | None = None,
    trials: int | None = None,
    sampler: str | None = None,
    sample: int | None = None,
    seed: int | None = None,
    metric: str | None = None,
    maximize: bool | None = None,
    stop: Sequence[str] = (),
    budget: str | None = None,
    jobs: int | None = None,
    engine: str = DEFAULT_ENGINE,
    cluster: str | None = None,
    retries: int = 0,
    experiment: str | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    kernel: str | None = None,
    cwd: str | Path | None = None,
    execution_timeout: float | None = None,
    report: Callable[[str], object] | None = print,
) -> SweepResult:
    """Run a notebook at the points of a space of parameters, and wait for it. An interrupt ends all of it as KILLED;
    ``jupyter mlops sweep --resume`` goes on with it.

    Parameters
    ----------
    space
        By the parameter's name: a list of values, or :func:`uniform`, :func:`loguniform`, :func:`integer`.
    parameters
        Values that are the same at all points.
    optimize
        Search the space by a metric, ``"maximize:auc"`` or ``"minimize:loss"`` (maximize without a direction): points
        are proposed by Optuna, by what came of those before. Without it, every combination is run.
    trials
        How many points a search tries; 20 by default.
    sampler
        How a search proposes points: ``"tpe"`` (the default), ``"gp"``, ``"cmaes"``, ``"qmc"`` or ``"random"``.
    sample
        Draw so many of the combinations, at random.
    seed
        Makes ``sample`` and ``sampler`` repeatable.
    metric, maximize
        What runs are compared by when nothing is optimized, and whether a greater value is better (the default).
    stop
        Rules that end a run early, KILLED with the reason: ``"nan"``, ``"nan:loss"``, ``"loss>100"``, ``"idle:10m"``,
        and for a search ``"median"``, ``"halving"`` or ``"hyperband"``.
    budget
        Begin no further point after this time, such as ``"2h"``.
    jobs
        Notebooks at once; by default one a core and eight at most, or as many as a cluster has threads.
    engine, cluster
        What runs the notebooks: ``"fork"``, ``"local"``, or ``"dask"`` with the cluster's address, ``"gateway:URL"`` or
        ``"local:N"``.
    retries
        How often a point is run again whose runner was lost.
    experiment
        Where it is recorded; by default where new runs are.
    cwd
        Where the notebook runs; its own folder by default.
    execution_timeout
        The longest that a cell may take, in seconds.
    report
        Called with a line as each run ends; None for silence.

    Raises
    ------
    InvalidValue, NotebookError, UnknownParameter, ParameterTypeError
        It cannot be done as asked; nothing was recorded.
    MissingDependency
        It is a search, and Optuna is not installed.
    """
    path = Path(notebook).absolute()
    return SweepResult(
        run_request(
            SweepRequest(
                notebook=str(path),
                space=[_axis(key, values) for key, values in space.items()],
                sample=sample,
                seed=seed,
                optimize=optimize,
                trials=trials,
                sampler=sampler,
                metric=metric,
                maximize=maximize,
                stop=stop,
                retries=retries,
                budget=budget,
                kernel=kernel,
                cwd=str(path.parent if cwd is None else Path(cwd).absolute()),
                execution_timeout=execution_timeout,
                tags=dict(tags or {}),
            ),
            {key: param(key, value).value for key, value in (parameters or {}).items()},
            jobs=jobs,
            engine=engine,
            cluster=cluster,
            experiment=experiment,
            name=name,
            report=report,
        )
    )


def run_request(
    asked: SweepRequest,
    parameters: dict[str, Json],
    *,
    jobs: int | None,
    engine: str,
    cluster: str | None,
    experiment: str | None,
    name: str | None,
    report: Callable[[str], object] | None,
) -> Sweep:
    """Do what is asked for in the session of this process."""
    if jobs is not None and jobs < 1:
        raise InvalidValue(f"jobs: {jobs} is too small; it is at least 1")
    session = current()
    chosen = load_engine(engine, cluster)
    plan, secrets = asked.plan(read_source(asked.notebook), parameters)
    tracker = session.reader()
    where = session.experiment() if experiment is None else tracker.experiments.ensure(experiment)
    going = Sweep.begin(tracker, where.experiment_id, plan, secrets=secrets, name=name)

    def say(text: str) -> None:
        if report is not None:
            report(printable(text))

    def on_event(standing: Standing, child: Run | None) -> None:
        if child is not None:
            why = f" ({headline(child.reason)})" if child.reason and child.status is not RunStatus.FINISHED else ""
            say(f"{child.name} {child.status.value.lower()}{why}: {standing.told(plan.metric)}")

    place = Place(tracking_url=session.tracking_url)
    going.execute(chosen, place, jobs=jobs, on_event=on_event, on_remark=say)
    return going


def _axis(name: str, values: object) -> Axis:
    if isinstance(values, Interval):
        return make_axis(name, values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidValue(
            f"space[{short(name)}]: expected a list of values, uniform(), loguniform() or integer(), found "
            f"{short(values)} ({type(values).__name__}); what is the same at all points belongs to parameters"
        )
    return make_axis(name, [param(name, value).value for value in values])
