"""The session: what this process records, and into which runs.

There is one per process (:func:`current`). It knows the run that encloses the process (a notebook run, by the
environment variable ``MLOPS_RUN_ID``), the runs that code has started, and the experiment that new ones belong to.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.access import default_owner, split_owner
from jupyter_mlops.core.errors import Conflict, InvalidValue, MLOpsError
from jupyter_mlops.core.ids import is_id, new_id, new_run_name
from jupyter_mlops.core.records import (
    Batch,
    Experiment,
    Metric,
    NewRun,
    Param,
    Reason,
    ReasonKind,
    RunChange,
    RunKind,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.run_fields import OWN_NAME_TAG
from jupyter_mlops.recording.delivery import Delivery
from jupyter_mlops.recording.entities import NOTES_TAG, ActiveRun, LoggedExperiment, now, outcome_of
from jupyter_mlops.recording.surroundings import after_each_cell, executed, in_ipython
from jupyter_mlops.recording.usage import Watch
from jupyter_mlops.recording.variables import EXPERIMENT, RUN_DIR, RUN_ID, RUN_NAME, SPOOL_DIR, STRICT, spool_limit
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import is_refusal
from jupyter_mlops.tracker.spoolfile import Change, Create, Log

DEFAULT_EXPERIMENT = "Default"


class Session:
    """What one process records. Any thread may call; a forked child may go on using it.

    Each thread has a stack of runs of its own, as in MLflow. A thread that has started none logs to the run of the main
    thread, else to the enclosing run, else begins one.

    Parameters
    ----------
    environ
        Environment variables: ``MLOPS_RUN_ID``, ``_RUN_NAME``, ``_RUN_DIR`` and ``_SPOOL_DIR`` (set by a runner),
        ``MLOPS_EXPERIMENT``, ``MLOPS_STRICT``, ``MLOPS_SPOOL_LIMIT``.
    url
        The tracker's URL; ``MLOPS_TRACKING_URL`` or the embedded store when None.

    Raises
    ------
    InvalidValue
        An environment variable has a value that makes no sense.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, *, url: str | None = None) -> None:
        self.enclosing: ActiveRun | None = None
        run_id = environ.get(RUN_ID)
        if run_id:
            self.enclosing = ActiveRun(self, checked_id(run_id, f"the environment variable {RUN_ID}"), owned=False)
        self._name_was_chosen = bool(environ.get(RUN_NAME))
        self._run_dir = environ.get(RUN_DIR)
        self._spool_dir = Path(environ[SPOOL_DIR]) if environ.get(SPOOL_DIR) else None
        self._strict = environ.get(STRICT) == "1"
        self._spool_limit = spool_limit(environ)
        # In a notebook run, the experiment is that of the run.
        self._experiment_name = (environ.get(EXPERIMENT) or None) if self.enclosing is None else None
        self._experiment: Experiment | None = None
        self._attached = False
        self._main_stack: list[ActiveRun] = []
        self._threads = threading.local()
        self._open: dict[str, ActiveRun] = {}
        self._watches: dict[str, Watch] = {}
        self._params: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self.last: ActiveRun | None = None
        """The run that was active last."""
        self.delivery = self._new_delivery(url)
        reference = weakref.ref(self)
        after_each_cell(lambda: _nudge(reference()))
        _sessions.add(self)

    def _new_delivery(self, url: str | None) -> Delivery:
        return Delivery(url=url, folder=self._spool_dir, strict=self._strict, max_bytes=self._spool_limit)

    # --- the tracker -------------------------------------------------------------------------------------------------

    @property
    def tracking_url(self) -> str:
        return self.delivery.url

    def use_tracker(self, url: str) -> None:
        """Record to another tracker from now on; ``Conflict`` while runs are active."""
        if self._open or self.enclosing is not None:
            raise Conflict("the tracking URL cannot be changed while a run is active; end the run first")
        self.delivery.close()
        self._experiment = None
        self.delivery = self._new_delivery(url)

    def reader(self) -> Tracker:
        """The tracker, for reading: all that this process logged before is in it."""
        tracker = self.delivery.tracker
        self.delivery.deliver()
        return tracker

    def flush(self) -> None:
        """Store all that was logged until now. A storage failure warns, or raises in strict mode."""
        self.delivery.deliver()

    # --- experiments -------------------------------------------------------------------------------------------------

    @property
    def experiment_name(self) -> str:
        """The experiment of new runs: the one that was set, ``MLOPS_EXPERIMENT``, or ``Default``."""
        return self._experiment_name or DEFAULT_EXPERIMENT

    def set_experiment(self, name: str) -> LoggedExperiment:
        """Have new runs belong to the experiment ``name``, which is made when there is none."""
        self._experiment_name = values.experiment_name(name)
        self._experiment = None
        if self.delivery.live:
            try:
                self.experiment()
            except (MLOpsError, OSError) as error:
                self._storage_trouble(error)
        return LoggedExperiment(name, lambda: self.delivery.tracker.experiments.ensure(name))

    def use_experiment(self, experiment: Experiment) -> LoggedExperiment:
        """Have new runs belong to ``experiment``."""
        self._experiment_name, self._experiment = experiment.name, experiment
        return LoggedExperiment.of(experiment)

    def experiment(self) -> Experiment:
        """The experiment that new runs belong to, or that of the enclosing run when none was set."""
        if self._experiment is None:
            tracker = self.delivery.tracker
            if self._experiment_name is None and self.enclosing is not None:
                self._experiment = tracker.experiments.get(self.reader().runs.get(self.enclosing.run_id).experiment_id)
            else:
                self._experiment = tracker.experiments.ensure(self.experiment_name)
        return self._experiment

    def experiment_owner(self) -> str:
        """Whose the experiment of new runs is, or will be once it is made: a user's name, or ``group:NAME``."""
        if self._experiment is not None:
            return self._experiment.owner
        principal = self.delivery.tracker.principal
        return split_owner(principal, self.experiment_name)[0] or default_owner(principal)

    # --- runs --------------------------------------------------------------------------------------------------------

    @property
    def active(self) -> ActiveRun | None:
        """The run that this thread logs to now, if any."""
        stack = self._stack()
        if stack:
            return stack[-1]
        if self._main_stack:
            return self._main_stack[-1]
        return self.enclosing

    def logged_to(self) -> ActiveRun:
        """The run that this thread logs to: the active one, or a new one."""
        return self.active or self.start_run()

    def start_run(
        self,
        run_id: str | None = None,
        *,
        experiment_id: str | None = None,
        name: str | None = None,
        nested: bool = False,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        kind: RunKind = RunKind.SESSION,
        source: str | None = None,
        hidden_state: str | None = None,
        log_system_metrics: bool = False,
    ) -> ActiveRun:
        """Begin or resume a run and make it the one this thread logs to.

        In a notebook run the first one begun is the notebook run itself, unless it is asked to be another (``nested``,
        a parent, another experiment); later ones are its children. ``log_system_metrics`` logs what this process uses
        of the machine, where no runner does. The other arguments are those of
        :class:`~jupyter_mlops.core.records.NewRun`.

        Raises
        ------
        Conflict
            A run is active and ``nested`` is not given, or the run to resume is deleted.
        NotFound
            There is no such run to resume.
        """
        stack = self._stack()
        if stack and not nested:
            raise Conflict(
                f"run {stack[-1].run_id} is already active: end it with end_run(), or start one inside it with "
                "start_run(nested=True)"
            )
        labels = _labels(tags, description)
        if name is not None:
            values.run_name(name)
        if run_id is not None and (self.enclosing is None or run_id != self.enclosing.run_id):
            run = self._resume(checked_id(run_id, "run_id"), name, labels)
        elif run_id is not None or self._is_the_enclosing(nested, parent_run_id, experiment_id):
            run = self._attach(name, labels)
        else:
            parent = parent_run_id and checked_id(parent_run_id, "parent_run_id")
            outer = stack[-1] if stack else self.enclosing
            new = NewRun(
                experiment_id=experiment_id or "",
                kind=kind,
                run_id=new_id(),
                name=name or new_run_name(),
                start_time=now(),
                parent_run_id=parent or (outer.run_id if outer else None),
                source=executed() if source is None else source,
                hidden_state=hidden_state,
                runner=this_runner(),
                batch=self._redacted(Batch(tags=labels)),
            )
            run = self._create(new)
        stack.append(run)
        self.last = run
        if log_system_metrics and run.owned:
            self._watches[run.run_id] = Watch(lambda points: self.log_metrics(run.run_id, points))
        return run

    def end_run(
        self, run: ActiveRun | None = None, status: RunStatus = RunStatus.FINISHED, reason: Reason | None = None
    ) -> None:
        """End a run (the thread's active one when None; nothing happens when there is none). Runs that were begun
        inside it end with it. The notebook run that encloses this process goes on."""
        stack = self._stack()
        if run is None or run in stack:
            while stack:
                ended = stack.pop()
                self._end(ended, status, reason)
                if run is None or ended is run:
                    break
        else:
            self._end(run, status, reason)
        self.delivery.nudge()

    def log(self, run_id: str, batch: Batch) -> None:
        """Write ``batch`` to a run: it is in the spool when this returns.

        Raises
        ------
        InvalidValue
            A parameter that this process logged before is given another value.
        """
        if batch.params or batch.tags or batch.inputs:
            batch = self._redacted(batch)
            self._check_params(run_id, batch.params)
        self.delivery.append(Log(run_id, batch))

    def log_metrics(self, run_id: str, metrics: tuple[Metric, ...]) -> None:
        """Write checked points of metrics to a run."""
        self.delivery.append(Log(run_id, Batch(metrics=metrics)))

    def change(self, run_id: str, change: RunChange) -> None:
        """Change a run."""
        self.delivery.append(Change(run_id, change))

    def rename(self, run: ActiveRun, name: str) -> None:
        """Give a run another name. A notebook run whose name was chosen for it (``--name``, a sweep) keeps that."""
        values.run_name(name)
        if run is self.enclosing and self._name_was_chosen:
            self.log(run.run_id, Batch(tags=(Tag(OWN_NAME_TAG, name),)))
        else:
            self.change(run.run_id, RunChange(name=name))
            run.name = name

    def run_dir(self, run: ActiveRun) -> Path:
        """The run's private scratch folder, which exists. That of a notebook run is made, and removed, by its runner;
        those of others lie below the system's temporary folder."""
        if self._run_dir and run is self.enclosing:
            folder = Path(self._run_dir)
        else:
            import tempfile

            folder = Path(tempfile.gettempdir()) / f"jupyter-mlops-{run.run_id}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def close(self) -> None:
        """End the runs that this process began and is still in, and deliver what was logged."""
        status, reason = outcome_of(None if in_ipython() else getattr(sys, "last_value", None))
        for run in reversed(list(self._open.values())):
            self._end(run, status, reason)
        self.delivery.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _stack(self) -> list[ActiveRun]:
        if threading.current_thread() is threading.main_thread():
            return self._main_stack
        try:
            stack: list[ActiveRun] = self._threads.stack
        except AttributeError:
            stack = self._threads.stack = []
        return stack

    def _is_the_enclosing(self, nested: bool, parent_run_id: str | None, experiment_id: str | None) -> bool:
        if self.enclosing is None or nested or parent_run_id or experiment_id:
            return False
        with self._lock:
            first, self._attached = not self._attached, True
        return first

    def _attach(self, name: str | None, labels: tuple[Tag, ...]) -> ActiveRun:
        run = self.enclosing
        assert run is not None
        self._attached = True
        if name is not None:
            self.rename(run, name)
        if labels:
            self.log(run.run_id, Batch(tags=labels))
        return run

    def _resume(self, run_id: str, name: str | None, labels: tuple[Tag, ...]) -> ActiveRun:
        try:
            found = self.reader().runs.get(run_id)
        except (MLOpsError, OSError) as error:
            self._storage_trouble(error)
        else:
            if found.lifecycle.value != "active":
                raise Conflict(f"run {run_id} is deleted; restore it before logging to it")
            name = name or found.name
            self._params[run_id] = {param.key: param.text for param in found.params}
        self.change(run_id, RunChange(name=name, status=RunStatus.RUNNING, runner=this_runner()))
        if labels:
            self.log(run_id, Batch(tags=labels))
        return self._opened(ActiveRun(self, run_id, name=name, owned=True))

    def _create(self, new: NewRun) -> ActiveRun:
        """Through the tracker in a live session, so that the run is seen at once; through the spool in a notebook run,
        which needs no database, and when the tracker does not answer."""
        run = ActiveRun(self, str(new.run_id), name=new.name, owned=True)
        created = False
        if self.delivery.live:
            try:
                placed = self._placed(new)
                self.delivery.tracker.runs.create(placed)
                created = True
            except (MLOpsError, OSError) as error:
                self._storage_trouble(error)
        if not created:
            # Without a name, the replayer takes the experiment of the parent.
            inherits = self._experiment_name is None and new.parent_run_id
            self.delivery.append(Create(new, "" if inherits else self.experiment_name))
        return self._opened(run)

    def _placed(self, new: NewRun) -> NewRun:
        if new.experiment_id:
            return new
        return msgspec.structs.replace(new, experiment_id=self.experiment().experiment_id)

    def _opened(self, run: ActiveRun) -> ActiveRun:
        self._open[run.run_id] = run
        if self.delivery.live:
            self.delivery.beat(run.run_id)
            self._end_on_sigterm()
        return run

    def _end(self, run: ActiveRun, status: RunStatus, reason: Reason | None) -> None:
        # A forked child leaves its parent's runs to the parent.
        if self._open.pop(run.run_id, None) is None:
            return
        self._params.pop(run.run_id, None)
        watch = self._watches.pop(run.run_id, None)
        if watch is not None:
            watch.stop()
        self.delivery.stop_beating(run.run_id)
        self.change(run.run_id, RunChange(status=status, reason=reason, end_time=now()))

    def _redacted(self, batch: Batch) -> Batch:
        """Before it reaches the spool; what the environment keeps secret is known here only."""
        from jupyter_mlops.core.redaction import redact_batch, secret_values

        return redact_batch(batch, secret_values(os.environ))

    def _check_params(self, run_id: str, params: tuple[Param, ...]) -> None:
        known = self._params.setdefault(run_id, {})
        for param in params:
            before = known.get(param.key, param.text)
            if before != param.text:
                raise InvalidValue(
                    f"parameter {param.key!r} of run {run_id} was logged as {values.short(before)}; it cannot become "
                    f"{values.short(param.text)}, as a run has one value of each parameter. Log what changes as a "
                    "metric, or begin another run"
                )
        known.update({param.key: param.text for param in params})

    def _storage_trouble(self, error: MLOpsError | OSError) -> None:
        """Raise what is the caller's mistake; a storage failure only warns."""
        if isinstance(error, MLOpsError) and is_refusal(error):
            raise error
        self.delivery.trouble(error)

    def _end_on_sigterm(self) -> None:
        """Have SIGTERM end the active runs as KILLED before it ends the process, unless someone else handles it."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, *_: object) -> None:
        # In a thread of its own: the main thread, in which this runs, may hold any lock.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=self._end_as_killed, name="mlops-sigterm", daemon=True).start()

    def _end_as_killed(self) -> None:
        reason = Reason(kind=ReasonKind.CANCELLED, message="the process was asked to end (SIGTERM)")
        try:
            for run in reversed(list(self._open.values())):
                self._end(run, RunStatus.KILLED, reason)
            self.delivery.close()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._open, self._watches = {}, {}


def checked_id(run_id: str, what: str) -> str:
    if not isinstance(run_id, str) or not is_id(run_id):
        raise InvalidValue(f"{what}: {values.short(run_id)} is no run id (32 lower-case hex digits)")
    return run_id


def _nudge(session: Session | None) -> None:
    if session is not None:
        session.delivery.nudge()


def _labels(tags: Mapping[str, Any] | None, description: str | None) -> tuple[Tag, ...]:
    labels = [values.tag(key, value) for key, value in (tags or {}).items()]
    if description is not None:
        labels.append(values.tag(NOTES_TAG, description))
    return tuple(labels)


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_current: Session | None = None
_current_lock = threading.Lock()


def current() -> Session:
    """The session of this process, begun when first asked for and closed at exit."""
    global _current  # noqa: PLW0603 - the one session of the process
    if _current is None:
        with _current_lock:
            if _current is None:
                _current = Session()
                atexit.register(_current.close)
    return _current


@contextmanager
def using(session: Session) -> Iterator[Session]:
    """Have this process record by ``session`` for the time of a block, then close it."""
    global _current  # noqa: PLW0603 - the one session of the process
    before, _current = _current, session
    try:
        yield session
    finally:
        _current = before
        session.close()


def _after_fork_in_child() -> None:
    global _current_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _current_lock = threading.Lock()
    for session in list(_sessions):
        session._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
