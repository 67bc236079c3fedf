"""Experiment tracking and a model registry inside Jupyter.

``import jupyter_mlops as mlops`` offers MLflow's fluent API by the same names and signatures (``docs/python-api.md``),
``%load_ext jupyter_mlops`` adds the magics. Importing this package imports nothing else: a name is looked up when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jupyter_mlops._version import __version__

if TYPE_CHECKING:
    from jupyter_mlops.core.records import Dataset
    from jupyter_mlops.core.spaces import choice, integer, loguniform, uniform
    from jupyter_mlops.execution.fluent import SweepResult, sweep
    from jupyter_mlops.recording import datasets as data
    from jupyter_mlops.recording.autolog import autolog
    from jupyter_mlops.recording.entities import ActiveRun, LoggedExperiment, LoggedRun
    from jupyter_mlops.recording.files import log_artifact, log_artifacts, log_dict, log_figure, log_image, log_text
    from jupyter_mlops.recording.fluent import (
        active_run,
        create_experiment,
        delete_experiment,
        delete_run,
        delete_tag,
        end_run,
        flush,
        get_artifact_uri,
        get_tracking_uri,
        last_active_run,
        log_input,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        restore_run,
        run_dir,
        set_experiment,
        set_experiment_tag,
        set_experiment_tags,
        set_tag,
        set_tags,
        set_tracking_uri,
        share,
        start_run,
        unshare,
    )
    from jupyter_mlops.recording.models import LoggedModel, load_model, log_model, register_model
    from jupyter_mlops.recording.promoting import promote
    from jupyter_mlops.recording.reading import (
        get_experiment,
        get_experiment_by_name,
        get_parent_run,
        get_run,
        search_experiments,
        search_runs,
    )
    from jupyter_mlops.tracker.connect import connect

_NAMES_BY_MODULE = {
    "core.records": "Dataset",
    "core.spaces": "choice integer loguniform uniform",
    "execution.fluent": "SweepResult sweep",
    "recording.autolog": "autolog",
    "recording.entities": "ActiveRun LoggedExperiment LoggedRun",
    "recording.files": "log_artifact log_artifacts log_dict log_figure log_image log_text",
    "recording.fluent": (
        "active_run create_experiment delete_experiment delete_run delete_tag end_run flush get_artifact_uri "
        "get_tracking_uri last_active_run log_input log_metric log_metrics log_param log_params restore_run run_dir "
        "set_experiment set_experiment_tag set_experiment_tags set_tag set_tags set_tracking_uri share start_run "
        "unshare"
    ),
    "recording.models": "LoggedModel load_model log_model register_model",
    "recording.promoting": "promote",
    "recording.series": "log_series",
    "recording.reading": "get_experiment get_experiment_by_name get_parent_run get_run search_experiments search_runs",
    "tracker.connect": "connect",
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}

_MODELS = "log_model(), load_model() and autolog() take models of all frameworks"
_TRACKER = "connect() opens the tracker, which has all other operations"
_INSTEAD = {
    **dict.fromkeys(("sklearn", "pytorch", "pyfunc", "xgboost", "lightgbm", "tensorflow", "keras", "models"), _MODELS),
    **dict.fromkeys(("MlflowClient", "tracking", "client", "artifacts"), _TRACKER),
    "exceptions": "errors are classes of jupyter_mlops.core.errors, below MLOpsError",
    "log_table": "log_artifact() takes the file that a table was written to",
}
"""What does the work of names that only MLflow has."""

__all__ = [
    "ActiveRun",
    "Dataset",
    "LoggedExperiment",
    "LoggedModel",
    "LoggedRun",
    "SweepResult",
    "__version__",
    "active_run",
    "autolog",
    "choice",
    "connect",
    "create_experiment",
    "data",
    "delete_experiment",
    "delete_run",
    "delete_tag",
    "end_run",
    "flush",
    "get_artifact_uri",
    "get_experiment",
    "get_experiment_by_name",
    "get_parent_run",
    "get_run",
    "get_tracking_uri",
    "integer",
    "last_active_run",
    "load_model",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_model",
    "log_param",
    "log_params",
    "log_series",
    "log_text",
    "loguniform",
    "promote",
    "register_model",
    "restore_run",
    "run_dir",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_experiment_tag",
    "set_experiment_tags",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "share",
    "start_run",
    "sweep",
    "uniform",
    "unshare",
]


def __getattr__(name: str) -> Any:
    if name == "data":
        value = import_module("jupyter_mlops.recording.datasets")
    elif name in _MODULE_OF:
        value = getattr(import_module(f"jupyter_mlops.{_MODULE_OF[name]}"), name)
    else:
        hint = _INSTEAD.get(name, "")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint and f'; {hint}'}", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext jupyter_mlops``."""
    import_module("jupyter_mlops.magics").load_ipython_extension(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Where Jupyter Server finds the extension."""
    extension = import_module("jupyter_mlops.server.extension").MLOpsExtension
    return [{"module": "jupyter_mlops.server.extension", "app": extension}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Where JupyterLab finds the panel."""
    return [{"src": "labextension", "dest": "jupyter-mlops"}]
