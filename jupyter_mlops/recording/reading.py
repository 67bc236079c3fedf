"""Reading back from code: runs and experiments, with the names and signatures of MLflow's fluent API.

What this process logged is stored first, so that it is found.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue, MissingDependency, NotFound
from jupyter_mlops.core.records import Page, Run, View
from jupyter_mlops.core.values import short
from jupyter_mlops.core.warn import warn_caller
from jupyter_mlops.recording.entities import LoggedExperiment, LoggedRun, artifact_uri
from jupyter_mlops.recording.session import checked_id, current
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE, Tracker

T = TypeVar("T")
_VIEWS = {1: View.ACTIVE, 2: View.DELETED, 3: View.ALL}


@checked_call
def get_run(run_id: str) -> LoggedRun:
    """A run as it is stored; ``NotFound`` when there is none."""
    return LoggedRun(current().reader().runs.get(checked_id(run_id, "get_run")))


@checked_call
def get_parent_run(run_id: str) -> LoggedRun | None:
    """The run that a run is a child of; None when it has no parent."""
    parent = get_run(run_id).record.parent_run_id
    return None if parent is None else get_run(parent)


@checked_call
def get_experiment(experiment_id: str) -> LoggedExperiment:
    """An experiment, deleted or not; ``NotFound`` when there is none."""
    return LoggedExperiment.of(current().reader().experiments.get(experiment_id))


@checked_call
def get_experiment_by_name(name: str) -> LoggedExperiment | None:
    """The experiment of that name, deleted or not; None when there is none."""
    try:
        return LoggedExperiment.of(current().reader().experiments.find(name))
    except NotFound:
        return None


@checked_call
def search_experiments(
    view_type: int | View = 1,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[LoggedExperiment]:
    """The experiments that a filter matches, newest first unless ``order_by`` says otherwise.

    ``view_type`` is MLflow's ``ViewType`` (1: active, 2: deleted, 3: both) or a
    :class:`~jupyter_mlops.core.records.View`.
    """
    tracker = current().reader()
    view = _view(view_type)

    def page(limit: int, token: str | None) -> Page[Any]:
        return tracker.experiments.search(
            filter_string or "", tuple(order_by or ()), view=view, limit=limit, page_token=token
        )

    return [LoggedExperiment.of(found) for found in _all(page, max_results)]


@checked_call
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: int | View = 1,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: str | None = None,
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> Any:
    """The runs that a filter matches.

    Parameters
    ----------
    experiment_ids, experiment_names
        Where to search; by default in the experiment that new runs belong to. Not both.
    filter_string, order_by
        MLflow's grammar: ``metrics.auc > 0.8 and params.kind = 'rf'``, ``["metrics.auc DESC"]``. Newest first by
        default.
    run_view_type
        MLflow's ``ViewType`` (1: active, 2: deleted, 3: both) or a :class:`~jupyter_mlops.core.records.View`.
    max_results
        How many runs at most.
    output_format
        ``"pandas"`` or ``"list"``; by default a DataFrame when pandas is installed.
    search_all_experiments
        Search everywhere, when no experiments are given.

    Returns
    -------
    pandas.DataFrame
        One row a run: ``run_id``, ``experiment_id``, ``status``, ``artifact_uri``, ``start_time``, ``end_time``
        (UTC), then ``metrics.*`` (latest values, float64), ``params.*`` and ``tags.*`` (text, None where absent).
    list of LoggedRun
        With ``output_format="list"``, or without pandas.

    Raises
    ------
    FilterError
        The filter or the order does not parse; the message points at the place.
    """
    if output_format not in (None, "pandas", "list"):
        raise InvalidValue(f"search_runs: output_format is 'pandas' or 'list', not {short(output_format)}")
    if experiment_ids and experiment_names:
        raise InvalidValue("search_runs: give experiment_ids or experiment_names, not both")
    session = current()
    tracker = session.reader()
    view = _view(run_view_type)
    if experiment_names:
        ids = _ids_of(tracker, experiment_names)
    elif experiment_ids or search_all_experiments:
        ids = tuple(experiment_ids or ())
    else:
        ids = (session.experiment().experiment_id,)

    def page(limit: int, token: str | None) -> Page[Run]:
        return tracker.runs.search(ids, filter_string, tuple(order_by or ()), view=view, limit=limit, page_token=token)

    runs = _all(page, max_results) if ids or not experiment_names else []
    if output_format is None:
        output_format = "pandas" if importlib.util.find_spec("pandas") else "list"
    return _frame(runs) if output_format == "pandas" else [LoggedRun(run) for run in runs]


def _ids_of(tracker: Tracker, names: Sequence[str]) -> tuple[str, ...]:
    ids = []
    for name in names:
        try:
            ids.append(tracker.experiments.find(name).experiment_id)
        except NotFound:
            warn_caller(f"there is no experiment {name!r}", UserWarning)
    return tuple(ids)


def _view(given: int | View) -> View:
    if isinstance(given, View):
        return given
    if given not in _VIEWS:
        raise InvalidValue(f"the view is 1 (active), 2 (deleted) or 3 (both), not {short(given)}")
    return _VIEWS[given]


def _all(page: Callable[[int, str | None], Page[T]], most: int | None) -> list[T]:
    if most is not None and most < 0:
        raise InvalidValue(f"max_results: {short(most)} is negative")
    items: list[T] = []
    token = None
    while most is None or len(items) < most:
        found = page(DEFAULT_PAGE if most is None else min(DEFAULT_PAGE, most - len(items)), token)
        items.extend(found.items)
        token = found.next_page_token
        if token is None:
            break
    return items


def _frame(runs: Sequence[Run]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependency(
            "a DataFrame needs pandas: pip install pandas, or ask for output_format='list'"
        ) from None
    views = [LoggedRun(run) for run in runs]
    data = [view.data for view in views]
    columns: dict[str, Any] = {
        "run_id": [run.run_id for run in runs],
        "experiment_id": [run.experiment_id for run in runs],
        "status": [run.status.value for run in runs],
        "artifact_uri": [artifact_uri(run.run_id) for run in runs],
        "start_time": pd.to_datetime([run.start_time for run in runs], unit="ms", utc=True),
        "end_time": pd.to_datetime([run.end_time for run in runs], unit="ms", utc=True),
    }
    for key in _keys(item.metrics for item in data):
        columns[f"metrics.{key}"] = pd.Series([item.metrics.get(key, float("nan")) for item in data], dtype="float64")
    for key in _keys(item.params for item in data):
        columns[f"params.{key}"] = pd.Series([item.params.get(key) for item in data], dtype="object")
    for key in _keys(item.tags for item in data):
        columns[f"tags.{key}"] = pd.Series([item.tags.get(key) for item in data], dtype="object")
    return pd.DataFrame(columns)


def _keys(dicts: Any) -> list[str]:
    return list(dict.fromkeys(key for found in dicts for key in found))
