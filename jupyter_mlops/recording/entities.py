"""Runs and experiments as code in a notebook sees them: with MLflow's names and with ours.

They are views of records that are read when first looked at, so that getting one costs nothing and needs no database.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from jupyter_mlops.core.filter_names import MLFLOW_TAGS
from jupyter_mlops.core.records import Experiment, Input, Lifecycle, Reason, ReasonKind, Run, RunStatus
from jupyter_mlops.core.run_fields import reason_text

if TYPE_CHECKING:
    from jupyter_mlops.recording.session import Session

NOTES_TAG = "mlflow.note.content"
"""Holds a run's notes, in Markdown."""


class RunInfo(msgspec.Struct, frozen=True):
    """MLflow's ``run.info``. Times are milliseconds since the epoch."""

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: str


class RunData(msgspec.Struct, frozen=True):
    """MLflow's ``run.data``: parameters as text, each metric's latest value, tags."""

    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class LoggedRun:
    """A run as it is stored.

    ``run.info`` and ``run.data`` are MLflow's; ``run.record`` is the whole record
    (:class:`jupyter_mlops.core.records.Run`).
    """

    def __init__(self, record: Run) -> None:
        self._record = record

    @property
    def record(self) -> Run:
        return self._record

    @property
    def run_id(self) -> str:
        return self.record.run_id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def experiment_id(self) -> str:
        return self.record.experiment_id

    @property
    def status(self) -> str:
        return self.record.status.value

    @property
    def params(self) -> dict[str, Any]:
        """Parameters with the types they were logged with."""
        return {param.key: param.value for param in self.record.params}

    @property
    def metrics(self) -> dict[str, float]:
        """The latest value of each metric."""
        return {metric.key: metric.value for metric in self.record.metrics}

    @property
    def tags(self) -> dict[str, str]:
        return {tag.key: tag.value for tag in self.record.tags}

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The data sets it used."""
        return self.record.inputs

    @property
    def info(self) -> RunInfo:
        return _info(self.record)

    @property
    def data(self) -> RunData:
        record = self.record
        return RunData(
            params={param.key: param.text for param in record.params},
            metrics={metric.key: metric.value for metric in record.metrics},
            tags=_tags(record),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.run_id}) {self.status}>"


class ActiveRun(LoggedRun):
    """A run that this process logs to. As a context manager it ends the run: FINISHED, FAILED with the error's
    traceback, or KILLED when interrupted. Its data are read from the tracker whenever they are looked at."""

    def __init__(self, session: Session, run_id: str, *, name: str | None = None, owned: bool) -> None:
        self._session = session
        self._run_id = run_id
        self._name = name
        self.owned = owned
        """Whether this process started the run, and ends it; False for the notebook run that it is a part of."""

    @property
    def record(self) -> Run:
        return self._session.reader().runs.get(self._run_id)

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def name(self) -> str:
        return self._name or self.record.name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def info(self) -> RunInfo:
        return _LazyInfo(self)  # type: ignore[return-value]  # has all of its attributes

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = outcome_of(error)
        self._session.end_run(self, status, reason)

    def __repr__(self) -> str:
        return f"<ActiveRun {self._name + ' ' if self._name else ''}({self._run_id})>"


def _tags(record: Run) -> dict[str, str]:
    """The tags, with those in which MLflow keeps what are attributes here."""
    told = {tag: getattr(record, attribute) for tag, attribute in MLFLOW_TAGS.items()}
    return {
        **{tag: str(value) for tag, value in told.items() if value},
        **{tag.key: tag.value for tag in record.tags},
    }


def _info(record: Run) -> RunInfo:
    return RunInfo(
        run_id=record.run_id,
        run_name=record.name,
        experiment_id=record.experiment_id,
        user_id=record.user,
        status=record.status.value,
        start_time=record.start_time,
        end_time=record.end_time,
        artifact_uri=artifact_uri(record.run_id),
        lifecycle_stage=record.lifecycle.value,
    )


class _LazyInfo:
    """``run.info`` of an active run: its id is known without asking anyone."""

    def __init__(self, run: ActiveRun) -> None:
        self.run_id = run.run_id
        self.artifact_uri = artifact_uri(run.run_id)
        self._run = run

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(_info(self._run.record), name)

    def __repr__(self) -> str:
        return repr(_info(self._run.record))


class LoggedExperiment:
    """An experiment; its record is read when more than its name is asked for."""

    def __init__(self, name: str, read: Callable[[], Experiment]) -> None:
        self.name = name
        self._read = read
        self._record: Experiment | None = None

    @classmethod
    def of(cls, record: Experiment) -> LoggedExperiment:
        return cls(record.name, lambda: record)

    @property
    def record(self) -> Experiment:
        if self._record is None:
            self._record = self._read()
        return self._record

    @property
    def experiment_id(self) -> str:
        return self.record.experiment_id

    @property
    def owner(self) -> str:
        """A user's name, or ``group:NAME``."""
        return self.record.owner

    @property
    def lifecycle_stage(self) -> str:
        return self.record.lifecycle.value

    @property
    def creation_time(self) -> int:
        return self.record.created

    @property
    def last_update_time(self) -> int:
        return self.record.updated

    @property
    def tags(self) -> dict[str, str]:
        return {tag.key: tag.value for tag in self.record.tags}

    def __repr__(self) -> str:
        deleted = self._record is not None and self._record.lifecycle is Lifecycle.DELETED
        return f"<Experiment {self.name!r}{' (deleted)' if deleted else ''}>"


def artifact_uri(run_id: str, path: str = "") -> str:
    """The URI of a run's artifacts, as :func:`jupyter_mlops.load_model` and others take it."""
    return f"runs:/{run_id}/{path}".rstrip("/")


def outcome_of(error: BaseException | None) -> tuple[RunStatus, Reason | None]:
    """How a block that ended with ``error`` (None: without one) ended, and why."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return RunStatus.FINISHED, None
    if isinstance(error, KeyboardInterrupt):
        return RunStatus.KILLED, Reason(kind=ReasonKind.CANCELLED, message="interrupted")
    from jupyter_mlops.core.redaction import redact_text

    text = reason_text("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    message = reason_text(traceback.format_exception_only(type(error), error)[-1].strip())
    return RunStatus.FAILED, Reason(kind=ReasonKind.ERROR, message=redact_text(message), traceback=redact_text(text))


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
