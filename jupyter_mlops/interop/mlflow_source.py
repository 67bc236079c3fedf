"""What MLflow keeps, read through MLflow's own client: a tracking server, an ``mlruns`` folder or a database.

The client is an optional dependency, imported when a source is opened. Nothing is written to a source.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from jupyter_mlops.core.errors import (
    InvalidValue,
    MissingDependency,
    MLOpsError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from jupyter_mlops.core.redaction import masked_url, redact_text
from jupyter_mlops.core.values import short

Entity = Any
"""An object of :mod:`mlflow.entities`."""

_PAGE = 1000
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_INSTALL = "pip install 'jupyter-mlops[models]'"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Since 3.17 the client refuses to read folders, to move people to databases.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# Less than the client's own, which waits for four minutes for a server that is not there.
_RETRIES = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
_ERRORS: dict[str, type[MLOpsError]] = {
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "ENDPOINT_NOT_FOUND": NotFound,
    "NOT_FOUND": NotFound,
    "INVALID_PARAMETER_VALUE": InvalidValue,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": Unauthenticated,
}


_EXPERIMENT, _RUN = "[0-9]*", "[0-9a-f]" * 32
_OF_RUNS = ("meta.yaml", "params", "metrics", "tags")


class SourceFile(msgspec.Struct, frozen=True):
    """A file below an artifact location; ``size`` is None where the location does not tell."""

    path: str
    size: int | None


class Source:
    """An open source, one a process, as MLflow's client has one. Methods may be called by several threads.

    Parameters
    ----------
    source
        ``http(s)://…`` of a tracking server, which knows its caller by MLflow's own environment variables
        (``MLFLOW_TRACKING_TOKEN``, ``MLFLOW_TRACKING_USERNAME``…), a folder such as ``mlruns``, or the URL of a
        database.

    Raises
    ------
    InvalidValue
        It is none of these, or not MLflow's, or made by another version of MLflow than is installed.
    MissingDependency
        MLflow's client is not installed, or lacks what this source needs.
    Unavailable
        The source does not answer.
    """

    def __init__(self, source: str) -> None:
        self.uri = _uri(source)
        self.shown = redact_text(masked_url(self.uri))
        """Its URI, without secrets."""
        os.environ.update(_SETTINGS)
        os.environ.setdefault(*_RETRIES)
        try:
            import mlflow
            from mlflow.entities import ViewType
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        except ImportError as error:
            raise MissingDependency(f"importing from MLflow needs its client: {_INSTALL}") from error
        self._all = ViewType.ALL
        self._repository = get_artifact_repository
        if self.uri.partition("+")[0].partition(":")[0] in _DATABASES:
            _check_database(self.uri, self.shown)
        # Looking up where a version's files are, the client forgets which source it was made for.
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        logging.getLogger().addFilter(_is_not_about_folders)
        with self._told():
            self._client = mlflow.MlflowClient(self.uri, self.uri)
            self.probe()

    # --- what there is ---

    def probe(self) -> None:
        """Ask for little; ``Unavailable`` when there is no answer."""
        with self._told():
            self._client.search_experiments(view_type=self._all, max_results=1)

    def experiments(self) -> Iterator[Entity]:
        """All experiments, deleted ones too."""
        return self._pages(
            lambda token: self._client.search_experiments(view_type=self._all, max_results=_PAGE, page_token=token)
        )

    def runs(self, experiment_id: str) -> Iterator[Entity]:
        """All runs of an experiment, deleted ones too; oldest first."""
        return self._pages(
            lambda token: self._client.search_runs(
                [experiment_id], "", self._all, _PAGE, ["attributes.start_time ASC"], token
            )
        )

    def unreadable(self, read: Container[str]) -> Iterator[str]:
        """The ids of runs in a folder that are not among those ``read``: the client leaves out what is damaged."""
        if not self.uri.startswith("file:"):
            return
        folder = Path(unquote(urlsplit(self.uri).path))
        for pattern in (f"{_EXPERIMENT}/{_RUN}", f".trash/{_EXPERIMENT}/{_RUN}"):
            for place in sorted(folder.glob(pattern)):
                # Others hold the files of a database's runs.
                if place.name not in read and any((place / name).exists() for name in _OF_RUNS):
                    yield place.name

    def run(self, run_id: str) -> Entity:
        with self._told():
            return self._client.get_run(run_id)

    def history(self, run_id: str, key: str) -> list[Entity]:
        """The points of a metric."""
        with self._told():
            return list(self._client.get_metric_history(run_id, key))

    def logged_models(self, experiment_id: str) -> Iterator[Entity]:
        """The logged models of an experiment; none where the source is older than these."""
        try:
            yield from self._pages(
                lambda token: self._client.search_logged_models([experiment_id], max_results=100, page_token=token)
            )
        except NotFound:
            return

    def registered_models(self) -> Iterator[Entity]:
        """All registered models, which prompts are not."""
        found = self._pages(lambda token: self._client.search_registered_models(max_results=100, page_token=token))
        return (model for model in found if "mlflow.prompt.is_prompt" not in model.tags)

    def versions(self, name: str) -> list[Entity]:
        """The versions of a registered model, by number."""
        quoted = f'"{name}"' if "'" in name else f"'{name}'"
        found = self._pages(
            lambda token: self._client.search_model_versions(f"name={quoted}", max_results=100, page_token=token)
        )
        # What a search lists lacks the aliases.
        with self._told():
            numbers = sorted(int(version.version) for version in found)
            return [self._client.get_model_version(name, str(number)) for number in numbers]

    def registered_model(self, name: str) -> Entity:
        """With its aliases."""
        with self._told():
            return self._client.get_registered_model(name)

    def version_location(self, name: str, version: int) -> str:
        """Where the files of a version are."""
        with self._told():
            return str(self._client.get_model_version_download_uri(name, str(version)))

    # --- files ---

    def files(self, location: str) -> list[SourceFile]:
        """The files below an artifact location, by path."""
        with self._told():
            repository = self._repository(location, self.uri)
            found: list[SourceFile] = []
            folders: list[str | None] = [None]
            seen = set(folders)
            while folders:
                for each in repository.list_artifacts(folders.pop()):
                    if not each.is_dir:
                        found.append(SourceFile(each.path, each.file_size))
                    elif each.path not in seen:
                        seen.add(each.path)
                        folders.append(each.path)
            return sorted(found, key=lambda file: file.path)

    @contextmanager
    def fetched(self, location: str, path: str) -> Iterator[Path]:
        """A file below an artifact location, on this machine for the time of a block."""
        with tempfile.TemporaryDirectory(prefix="mlops-import-") as folder:
            with self._told():
                repository = self._repository(location, self.uri)
                # What is on this machine already is not copied.
                where = () if hasattr(repository, "artifact_dir") else (folder,)
                place = Path(repository.download_artifacts(path, *where))
            yield place

    # --- inside ---

    def _pages(self, ask: Callable[[str | None], Any]) -> Iterator[Entity]:
        token: str | None = None
        while True:
            with self._told():
                page = ask(token)
            yield from page
            token = page.token
            if not token:
                return

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the source as ours."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MLOpsError:
            raise
        except MlflowException as error:
            kind = _ERRORS.get(error.error_code, Unavailable)
            raise kind(f"{self.shown}: {redact_text(error.message)}") from error
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"{self.shown}: MLflow needs the package {error.name!r} to read this: pip install {error.name}"
            ) from error
        except Exception as error:
            # Storage behind a source has as many kinds of errors as there are libraries.
            raise Unavailable(f"{self.shown}: {type(error).__name__}: {redact_text(str(error))}") from error


def _is_not_about_folders(record: logging.LogRecord) -> bool:
    """What :meth:`Source.unreadable` finds, the client tells with a traceback, at each look."""
    return not str(record.msg).startswith("Malformed experiment")


def _uri(source: str) -> str:
    """The tracking URI of a source."""
    scheme, separator, _ = source.partition("://")
    if scheme in ("http", "https") and separator:
        return source.rstrip("/")
    if scheme.partition("+")[0] in _DATABASES and separator:
        return source
    if scheme == "file" and separator:
        source = source.removeprefix("file://")
    elif separator:
        raise InvalidValue(
            f"{short(masked_url(source))} is no source: write http(s)://… of a tracking server, a folder such as "
            "mlruns, or a database URL such as sqlite:///mlflow.db"
        )
    folder = Path(source).expanduser().absolute()
    if folder.is_file():
        raise InvalidValue(f"{source} is a file: write sqlite:///{source} for a database, or the folder mlruns")
    if not folder.is_dir():
        raise InvalidValue(f"there is no folder {source}")
    if not any(folder.glob("*/meta.yaml")) and not any(folder.glob(".trash/*/meta.yaml")):
        inner = folder / "mlruns"
        hint = f"; {inner} may be meant" if inner.is_dir() else ""
        raise InvalidValue(f"{source} has no experiments of MLflow{hint}")
    return folder.as_uri()


def _check_database(uri: str, shown: str) -> None:
    """Raise unless the database is MLflow's, of the schema that this client reads: opened by another one, it would be
    changed."""
    import mlflow
    import sqlalchemy as sa
    from alembic.script import ScriptDirectory

    url = sa.make_url(uri)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise InvalidValue(f"there is no database file {short(url.database)}")
    try:
        engine = sa.create_engine(uri)
        try:
            with engine.connect() as connection:
                names = sa.inspect(connection).get_table_names()
                if not {"experiments", "runs", "alembic_version"} <= set(names):
                    raise InvalidValue(f"{shown} is no database of MLflow: it has no tables 'experiments' and 'runs'")
                found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"{shown}: reading this database needs the package {error.name!r}: pip install {error.name}"
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise Unavailable(f"{shown} does not answer: {redact_text(str(error))}") from error
    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    wanted = ScriptDirectory(str(migrations)).get_heads()
    if [found] != list(wanted):
        raise InvalidValue(
            f"{shown} has MLflow's schema {found}, and mlflow {mlflow.__version__}, which is installed, reads "
            f"{', '.join(wanted)}. Install the mlflow that wrote it, or upgrade a copy of the database with "
            "`mlflow db upgrade`, or import from its tracking server"
        )
