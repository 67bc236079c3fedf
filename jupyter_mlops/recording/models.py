"""Models of runs: logging, registering and loading them. How they are written is in :mod:`.model_formats`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue, MLOpsError, NotFound
from jupyter_mlops.core.formats import abridged
from jupyter_mlops.core.model_card import LONGEST_PURPOSE
from jupyter_mlops.core.model_safety import MLMODEL
from jupyter_mlops.core.records import Artifact, Json, ModelVersion
from jupyter_mlops.core.warn import warn_caller
from jupyter_mlops.recording import model_formats
from jupyter_mlops.recording.files import is_folder
from jupyter_mlops.recording.model_cache import ModelCache
from jupyter_mlops.recording.session import current
from jupyter_mlops.recording.surroundings import executed
from jupyter_mlops.tracker.download import require_whole
from jupyter_mlops.tracker.location import home
from jupyter_mlops.tracker.protocol import Tracker

_RUNS = "runs:/"
_MODELS = "models:/"
_FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION, runs:/RUN/PATH or a folder"


class LoggedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was logged."""

    model_uri: str
    """``runs:/<run_id>/<path>``, as :func:`load_model` and :func:`register_model` take it."""
    run_id: str
    path: str
    flavor: str
    serialization: str | None
    """Such as ``skops`` or ``pt2``; None where the flavour has one format only."""
    unsafe: str | None
    """Why loading it can run code that came with it; None when it cannot."""
    signature: Json | None
    """Columns or tensors in and out, as in the ``MLmodel`` file."""
    version: ModelVersion | None = None
    """The version it was registered as."""

    @property
    def safe(self) -> bool:
        return self.unsafe is None


@checked_call
def log_model(
    model: Any,
    name: str = "model",
    *,
    signature: Any = None,
    input_example: Any = None,
    registered_model_name: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    pip_requirements: Sequence[str] | None = None,
    flavor: str | None = None,
    serialization: str | None = None,
) -> LoggedModel:
    """Save ``model`` with the active run, in MLflow's model directory format.

    scikit-learn models are saved by skops and PyTorch models by ``torch.export``, which cannot run code when loaded. A
    model that does not fit these formats is pickled, and an
    :class:`~jupyter_mlops.recording.model_formats.UnsafeModelWarning` says why.

    Parameters
    ----------
    model
        A model of scikit-learn, PyTorch or another framework with an MLflow flavour, a function of one argument, an
        ``mlflow.pyfunc.PythonModel``, or the path of a Python file that calls ``mlflow.models.set_model``.
    name
        The folder it is stored in among the run's artifacts.
    signature
        MLflow's ``ModelSignature``; inferred from ``input_example`` and the model's answer to it when absent.
    input_example
        A few rows of input, saved with the model. ``torch.export`` needs one, as an array or tensor of two rows or
        more.
    registered_model_name
        Also register it as a new version of this model.
    metadata
        JSON-like values to keep in the ``MLmodel`` file.
    pip_requirements
        What it needs to be loaded; the installed versions of its framework, NumPy and pandas when absent.
    flavor
        The name of an MLflow flavour, where the type of the model does not tell.
    serialization
        ``"skops"``, ``"cloudpickle"`` or ``"pickle"`` for scikit-learn, ``"pt2"`` or ``"pickle"`` for PyTorch; then
        nothing else is tried.

    Raises
    ------
    InvalidValue
        An argument does not fit.
    MissingDependency
        ``pip install 'jupyter-mlops[models]'`` is needed.
    """
    values.artifact_path(name)
    if registered_model_name is not None:
        values.model_name(registered_model_name)
    session = current()
    run_id = session.logged_to().run_id
    with tempfile.TemporaryDirectory(prefix="jupyter-mlops-model-") as temporary:
        folder = Path(temporary) / "model"
        saved = model_formats.save_model(
            model,
            folder,
            run_id=run_id,
            name=name,
            flavor=flavor,
            serialization=serialization,
            signature=signature,
            input_example=input_example,
            metadata=metadata,
            pip_requirements=pip_requirements,
        )
        # The MLmodel file makes a folder a model, so it comes last.
        for file in sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: (f.name == MLMODEL, f)):
            path = f"{name}/{file.relative_to(folder).as_posix()}"
            session.delivery.put_file(run_id, path, partial(shutil.copyfile, file))
    logged = LoggedModel(
        model_uri=f"{_RUNS}{run_id}/{name}",
        run_id=run_id,
        path=name,
        flavor=saved.flavor,
        serialization=saved.serialization,
        unsafe=saved.unsafe,
        signature=saved.signature,
    )
    if registered_model_name is None:
        return logged
    return msgspec.structs.replace(logged, version=register_model(logged.model_uri, registered_model_name))


@checked_call
def register_model(
    model_uri: str,
    name: str,
    await_registration_for: int | None = 300,  # noqa: ARG001 - MLflow's; there is nothing to wait for
    *,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    alias: str | None = None,
) -> ModelVersion:
    """Make a version of the registered model ``name`` (created when there is none) from a run's model.

    Parameters
    ----------
    model_uri
        ``runs:/RUN/PATH``; the run is named by its id, a unique beginning of it, or its name.
    await_registration_for
        MLflow's: how long to wait for the version. Here it is ready when this returns.
    alias
        Also have this alias point at the new version.

    Raises
    ------
    InvalidValue
        There is no model at ``model_uri``; the message says where the run has one.
    NotFound
        There is no such run.
    """
    if not model_uri.startswith(_RUNS):
        raise InvalidValue(f"register_model: {values.short(model_uri, 200)} is no model of a run; give runs:/RUN/PATH")
    if alias is not None:
        values.alias_name(alias)
    tracker = current().reader()
    run_id, path = _run_path(tracker, model_uri)
    version = tracker.models.register(name, run_id, path, description=description, tags=tags)
    if alias is not None:
        tracker.models.set_alias(name, alias, version.version)
        version = tracker.models.version(name, version.version)
    return version


@checked_call
def load_model(model_uri: str | Path, *, flavor: str | None = None, allow_unsafe: bool = True) -> Any:
    """Load a model for predicting.

    Parameters
    ----------
    model_uri
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` (or ``/latest``), ``runs:/RUN/PATH``, or a folder.
    flavor
        When absent, the result is MLflow's ``PyFuncModel``: its ``predict`` is the same whatever framework is behind
        it, and checks the input against the signature, so that code that asks a registered model goes on working when
        the next version is of another kind. ``flavor="sklearn"``, ``"pytorch"``... gives the framework's own object.
    allow_unsafe
        Whether to load a format that can run code when loaded, with a warning that says why.

    Raises
    ------
    NotFound
        There is no such model.
    IntegrityError
        Its files are not those that the version was registered with.
    UnsafeModel
        Its format can run code and ``allow_unsafe`` is False, or its content is not what it claims to be.
    """
    folder = _local_folder(str(model_uri))
    return model_formats.load_model(folder, flavor=flavor, allow_unsafe=allow_unsafe)


def _local_folder(uri: str) -> Path:
    """The model's files on this machine: verified copies of what the tracker has."""
    if uri.startswith(_MODELS):
        return _version_folder(uri)
    if uri.startswith(_RUNS):
        tracker = current().reader()
        run_id, path = _run_path(tracker, uri)
        start = len(path) + 1
        files = [
            msgspec.structs.replace(file, path=file.path[start:])
            for file in tracker.artifacts.walk(run_id, path)
            if file.path != path
        ]
        if not any(file.path == MLMODEL for file in files):
            raise NotFound(f"{uri} is no model{_where(tracker.artifacts.walk(run_id))}")
        return _cache().get(files, lambda place: tracker.artifacts.download(run_id, path, place))
    if "://" not in uri and ":/" not in uri and is_folder(Path(uri)):
        return Path(uri)
    raise NotFound(f"load_model: {values.short(uri, 200)} is no model; give {_FORMS}")


def _version_folder(uri: str) -> Path:
    name, reference = _version_reference(uri)
    tracker = current().reader()
    version = tracker.models.resolve(name, reference)
    files = tracker.models.files(name, version.version)
    require_whole(version, files)
    folder = _cache().get(files, lambda place: tracker.models.download(name, version.version, place))
    _note_load(tracker, version, reference)
    return folder


def _note_load(tracker: Tracker, version: ModelVersion, reference: str) -> None:
    """Tell the registry who loads what, by which alias and from where."""
    alias = reference if reference.startswith("@") else ""
    purpose = abridged(executed(), LONGEST_PURPOSE)
    try:
        tracker.models.consume(version.model, version.version, reference=alias, purpose=purpose)
    except MLOpsError as error:
        # A model that is there can be used.
        warn_caller(f"that {version.model} is used here could not be noted: {error.message}", RuntimeWarning)


def _version_reference(uri: str) -> tuple[str, str]:
    text = uri[len(_MODELS) :]
    name, at, alias = text.partition("@")
    if not at:
        name, _, version = text.partition("/")
        if not version:
            raise InvalidValue(f"load_model: {values.short(uri, 200)} names no version; give {_FORMS}")
        return name, version
    return name, f"@{alias}"


def _run_path(tracker: Tracker, uri: str) -> tuple[str, str]:
    run, _, path = uri[len(_RUNS) :].partition("/")
    path = path.strip("/")
    if not run or not path:
        raise InvalidValue(f"{values.short(uri, 200)} is not of the form runs:/RUN/PATH")
    return tracker.runs.resolve(run).run_id, path


def _where(files: Sequence[Artifact]) -> str:
    folders = [repr(f.path[: -len(MLMODEL) - 1]) for f in files if f.path.endswith(f"/{MLMODEL}")]
    return f"; the run has models in {', '.join(folders)}" if folders else "; the run has no model"


def _cache() -> ModelCache:
    return ModelCache(home() / "cache" / "models")
