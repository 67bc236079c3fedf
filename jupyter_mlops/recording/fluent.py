"""Runs, parameters, metrics and tags from code, with the names and signatures of MLflow's fluent API.

All of it acts on the session of this process (:mod:`jupyter_mlops.recording.session`). Logging calls check what they
are given, keep it in the spool and return; ``synchronous=True`` waits until it is stored. A mistake raises
:class:`~jupyter_mlops.core.errors.InvalidValue` where it is made; a storage failure only warns, once, unless
``MLOPS_STRICT=1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_mlops.core import values
from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Batch, Experiment, Input, Lifecycle, RunStatus
from jupyter_mlops.recording.entities import ActiveRun, LoggedExperiment, artifact_uri, now
from jupyter_mlops.recording.session import Session, checked_id, current

# --- where things are recorded ---------------------------------------------------------------------------------------


@checked_call
def set_tracking_uri(uri: str | Path) -> None:
    """Record to the tracker at ``uri`` from now on: ``sqlite:////path/mlops.db``, ``postgresql://user@host/database``.

    ``Conflict`` while a run is active.
    """
    current().use_tracker(str(uri))


def get_tracking_uri() -> str:
    """The tracker's URL, with any password masked."""
    from jupyter_mlops.core.redaction import redact_url

    return redact_url(current().tracking_url)


def flush() -> None:
    """Store all that was logged until now. It is done every second, at the end of each cell and at exit anyway."""
    current().flush()


# --- experiments -----------------------------------------------------------------------------------------------------


@checked_call
def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> LoggedExperiment:
    """Have new runs belong to an experiment, given by its name (it is made when there is none) or its id.

    In a notebook run, the run itself stays in the experiment that it was started in.
    """
    session = current()
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidValue("set_experiment: give either experiment_name or experiment_id")
    if experiment_name is not None:
        return session.set_experiment(experiment_name)
    found = session.reader().experiments.get(str(experiment_id))
    if found.lifecycle is Lifecycle.DELETED:
        raise Conflict(f"experiment {found.name!r} is deleted; restore it, or choose another name")
    return session.use_experiment(found)


@checked_call
def create_experiment(name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None) -> str:
    """Make an experiment and return its id; ``AlreadyExists`` when there is one of that name. ``artifact_location`` is
    MLflow's and refused: there is one place for the files of all experiments."""
    _refuse("create_experiment", artifact_location=artifact_location)
    labels = {key: values.tag(key, value, longest=values.LONGEST_EXPERIMENT_TAG).value for key, value in _items(tags)}
    return current().reader().experiments.create(name, tags=labels).experiment_id


@checked_call
def set_experiment_tag(key: str, value: Any) -> None:
    """Set a tag of the experiment that new runs belong to."""
    set_experiment_tags({key: value})


@checked_call
def set_experiment_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the experiment that new runs belong to."""
    session = current()
    labels = {key: values.tag(key, value, longest=values.LONGEST_EXPERIMENT_TAG).value for key, value in _items(tags)}
    session.reader().experiments.set_tags(session.experiment().experiment_id, labels)


@checked_call
def delete_experiment(experiment_id: str) -> None:
    """Mark an experiment deleted, with its runs."""
    current().reader().experiments.delete(experiment_id)


@checked_call
def share(
    experiment: str | LoggedExperiment,
    *,
    to_user: str | None = None,
    to_group: str | None = None,
    to_everyone: bool = False,
    role: str = "read",
) -> None:
    """Open an experiment of yours, or of your group, to others.

    Parameters
    ----------
    experiment
        Its name or its id.
    to_user, to_group, to_everyone
        Exactly one of these: a user's name, a group's name, or True for all who may read.
    role
        ``"read"`` lets them see it and all that is in it; ``"write"`` also lets them create runs in it and log to them.

    Raises
    ------
    NotFound
        There is no such experiment that you may see.
    PermissionDenied
        It is not yours, or this is a notebook on a shared hub, whose token decides nothing for others.
    """
    found = _experiment(experiment)
    current().reader().experiments.share(
        found.experiment_id, to_user=to_user, to_group=to_group, to_everyone=to_everyone, role=role
    )


@checked_call
def unshare(
    experiment: str | LoggedExperiment,
    *,
    to_user: str | None = None,
    to_group: str | None = None,
    to_everyone: bool = False,
) -> None:
    """Take a share back; ``NotFound`` when there is none. See :func:`share`."""
    found = _experiment(experiment)
    current().reader().experiments.unshare(
        found.experiment_id, to_user=to_user, to_group=to_group, to_everyone=to_everyone
    )


def _experiment(given: str | LoggedExperiment) -> Experiment:
    """The experiment of a name or an id."""
    if isinstance(given, LoggedExperiment):
        return given.record
    experiments = current().reader().experiments
    try:
        return experiments.find(given)
    except NotFound:
        if is_id(given):
            return experiments.get(given)
        raise


# --- runs ------------------------------------------------------------------------------------------------------------


@checked_call
def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Begin a run, or go on with the one of ``run_id``, and make it the one that is logged to.

    As a context manager it ends with its block: FINISHED, FAILED with the error's traceback, or KILLED when
    interrupted. In a notebook run, the first ``start_run()`` is the notebook run itself, which goes on when the block
    ends; later ones, and ``nested`` ones, are its children.

    Parameters
    ----------
    run_id
        A run to go on with.
    experiment_id
        The experiment of the new run; by default that of :func:`set_experiment`.
    run_name
        Made up when absent.
    nested
        Begin it inside the active run, as its child.
    parent_run_id
        Its parent, when that is not the active run.
    tags, description
        Tags of the run, and its notes (the tag ``mlflow.note.content``). MLflow's tags ``mlflow.runName``,
        ``mlflow.parentRunId`` and ``mlflow.source.name`` set what they name.
    log_system_metrics
        Log memory, processor and GPU use of this process every ten seconds as ``system/...``. A notebook run has them
        anyway.

    Raises
    ------
    Conflict
        A run is active and ``nested`` is not given, or the run to go on with is deleted.
    NotFound
        There is no run ``run_id``.
    """
    told = {key: value for key, value in (tags or {}).items() if key in _ATTRIBUTES}
    return current().start_run(
        run_id,
        experiment_id=experiment_id,
        name=run_name or told.get(_RUN_NAME),
        nested=nested,
        parent_run_id=parent_run_id or told.get(_PARENT),
        source=told.get(_SOURCE),
        tags={key: value for key, value in (tags or {}).items() if key not in told},
        description=description,
        log_system_metrics=bool(log_system_metrics),
    )


@checked_call
def end_run(status: str = "FINISHED") -> None:
    """End the active run as ``FINISHED``, ``FAILED`` or ``KILLED``; nothing happens when there is none."""
    try:
        chosen = RunStatus(status)
    except ValueError:
        chosen = RunStatus.RUNNING
    if not chosen.ended:
        raise InvalidValue(f"end_run: {values.short(status)} is no end; FINISHED, FAILED and KILLED are")
    current().end_run(status=chosen)


def active_run() -> ActiveRun | None:
    """The run that is logged to now: the innermost that was started here, or the notebook run; None without one."""
    return current().active


def last_active_run() -> ActiveRun | None:
    """The active run, or else the one that was active last."""
    session = current()
    return session.active or session.last


@checked_call
def delete_run(run_id: str) -> None:
    """Mark a run deleted, with its children."""
    current().reader().runs.delete(checked_id(run_id, "delete_run"))


@checked_call
def restore_run(run_id: str) -> None:
    """Bring back a deleted run."""
    current().reader().runs.restore(checked_id(run_id, "restore_run"))


def run_dir() -> Path:
    """A folder for the active run's own temporary files, so that runs at the same time do not overwrite each other's.

    It exists. What should be kept is to be logged (:func:`log_artifact`): a notebook run's folder is removed at its
    end.
    """
    session = current()
    return session.run_dir(session.logged_to())


@checked_call
def get_artifact_uri(artifact_path: str | None = None) -> str:
    """``runs:/<run id>/<artifact_path>`` of the active run, as :func:`load_model` and :func:`register_model` take."""
    path = values.artifact_path(artifact_path) if artifact_path else ""
    return artifact_uri(current().logged_to().run_id, path)


# --- logging ---------------------------------------------------------------------------------------------------------


@checked_call
def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a parameter, and return its value. A parameter has one value in a run: logging another raises."""
    session = current()
    session.log(session.logged_to().run_id, Batch(params=(values.param(key, value),)))
    _wait(session, synchronous)
    return value


@checked_call
def log_params(params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log parameters, all or none of them; of the active run, or of ``run_id``."""
    session = current()
    batch = Batch(params=tuple(values.param(key, value) for key, value in _items(params)))
    session.log(_target(session, run_id), batch)
    _wait(session, synchronous)


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> None:
    """Log a point of a metric.

    Parameters
    ----------
    key
        The metric's name: at most 250 characters.
    value
        Any real number, also NaN and the infinities, or an array of one element.
    step
        A 64-bit integer; 0 when absent.
    synchronous
        Wait until it is stored.
    timestamp
        Milliseconds since the epoch; now when absent.
    run_id
        The run; the active one when absent.
    model_id, dataset
        MLflow's, and refused: a metric belongs to a run here.
    """
    if model_id is not None or dataset is not None:
        _refuse("log_metric", model_id=model_id, dataset=dataset)
    session = current()
    point = values.metric(key, value, step=0 if step is None else step, timestamp=timestamp)
    session.log_metrics(session.logged_to().run_id if run_id is None else checked_id(run_id, "run_id"), (point,))
    if synchronous:
        session.flush()


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    model_id: str | None = None,
    dataset: Any = None,
) -> None:
    """Log a point of each of several metrics, all or none of them; see :func:`log_metric`."""
    _refuse("log_metrics", model_id=model_id, dataset=dataset)
    session = current()
    when = now() if timestamp is None else timestamp
    at = 0 if step is None else step
    points = tuple(values.metric(key, value, step=at, timestamp=when) for key, value in _items(metrics))
    session.log_metrics(_target(session, run_id), points)
    _wait(session, synchronous)


@checked_call
def set_tag(key: str, value: Any, synchronous: bool | None = None) -> None:
    """Set a tag of the active run to ``str(value)``."""
    set_tags({key: value}, synchronous)


@checked_call
def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
    """Set tags of the active run, all or none of them. The tag ``mlflow.runName`` renames it, as in MLflow."""
    session = current()
    labels = {key: values.tag(key, value) for key, value in _items(tags)}
    name = labels.pop(_RUN_NAME, None)
    if name is not None:
        values.run_name(name.value)
    if _PARENT in labels:
        raise InvalidValue(
            "a run's parent is given when it begins: start_run(nested=True) or start_run(parent_run_id=...)"
        )
    run = session.logged_to()
    if labels:
        session.log(run.run_id, Batch(tags=tuple(labels.values())))
    if name is not None:
        session.rename(run, name.value)
    _wait(session, synchronous)


@checked_call
def delete_tag(key: str) -> None:
    """Remove a tag of the active run, at once; ``NotFound`` when it has none of that key."""
    session = current()
    session.reader().runs.delete_tag(session.logged_to().run_id, key)


@checked_call
def log_input(
    dataset: Any = None, context: str | None = None, tags: Mapping[str, str] | None = None, model: Any = None
) -> None:
    """Record that the active run uses a data set.

    Parameters
    ----------
    dataset
        A data set from :mod:`jupyter_mlops.data` or ``mlflow.data``, a pandas DataFrame, a NumPy array, or the path of
        a file or a folder. Its digest is that of its whole content.
    context
        A word for what it is used for, such as ``training``.
    tags
        Tags of this use.
    model
        MLflow's, and refused.
    """
    _refuse("log_input", model=model)
    from jupyter_mlops.recording.datasets import describe

    session = current()
    labels = tuple(values.tag(key, value) for key, value in _items(tags))
    use = Input(values.dataset(describe(dataset)), values.input_context(context or ""), labels)
    session.log(session.logged_to().run_id, Batch(inputs=(use,)))


def _target(session: Session, run_id: str | None) -> str:
    return session.logged_to().run_id if run_id is None else checked_id(run_id, "run_id")


_RUN_NAME, _PARENT, _SOURCE = "mlflow.runName", "mlflow.parentRunId", "mlflow.source.name"
_ATTRIBUTES = (_RUN_NAME, _PARENT, _SOURCE)
"""Tags in which MLflow keeps what is said by arguments of :func:`start_run` or by attributes here."""

_MLFLOWS = {
    "artifact_location": "the files of all experiments are in one place here, that of MLOPS_ARTIFACTS_URL",
    "model_id": "metrics belong to runs here, as models do; log it in the run of the model",
    "dataset": "metrics belong to runs here; log_input() says which data sets a run uses",
    "model": "a run's inputs are data sets here; a parameter or a tag can name the model that it used",
}
"""Why an argument of MLflow's functions means nothing here."""


def _refuse(call: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidValue(f"{call}: {name}={values.short(value)} cannot be kept: {_MLFLOWS[name]}")


def _wait(session: Session, synchronous: bool | None) -> None:
    if synchronous:
        session.flush()


def _items(given: Any) -> Any:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise InvalidValue(f"expected a dict of names and values, found {values.short(given)} ({type(given).__name__})")
    return given.items()
