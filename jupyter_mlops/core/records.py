"""The records: what the store keeps, the tracker gives and the API speaks. Plain frozen structs, no behaviour.

Times are integer milliseconds since the epoch (UTC). Ids are 32 hex digits. Sequences are tuples, so that a record can
be shared between threads.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of these."""

T = TypeVar("T")


class RunStatus(str, Enum):
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def ended(self) -> bool:
        return self in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


class Lifecycle(str, Enum):
    ACTIVE = "active"
    DELETED = "deleted"


class View(str, Enum):
    """Which of deleted and active things a search shows (MLflow's ``ViewType``)."""

    ACTIVE = "ACTIVE_ONLY"
    DELETED = "DELETED_ONLY"
    ALL = "ALL"


class ReasonKind(str, Enum):
    """Why a run ended otherwise than well."""

    CELL_ERROR = "cell error"
    KERNEL_DIED = "kernel died"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "time-out"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """A rule of its sweep found it broken or hopeless."""
    RUNNER_LOST = "runner lost"
    SERVER_STOPPED = "server stopped"
    """The Jupyter server that it was submitted through was stopped, and with it what ran on its machine."""
    ERROR = "error"


class RunKind(str, Enum):
    """What kind of execution a run records."""

    NOTEBOOK = "notebook"
    """A whole notebook, run by papermill."""
    CELL = "cell"
    """One cell, by ``%%mlops run``."""
    SESSION = "session"
    """Code between ``start_run()`` and its end, in a live kernel or a script."""
    SWEEP = "sweep"
    """The parent of a sweep's children; executes nothing itself."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all records."""


DEFAULT_PAGE = 1000
LARGEST_PAGE = 50_000


class Page(Record, Generic[T], frozen=True, kw_only=True):
    """One page of a listing; ``next_page_token`` is opaque and None at the end."""

    items: tuple[T, ...]
    next_page_token: str | None = None


# --- values that a run logs ------------------------------------------------------------------------------------------


class Param(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A parameter: its typed value, and the string that MLflow knows it by. Immutable once logged (by the string)."""

    key: str
    value: Json
    text: str
    redacted: bool = False
    """The value was a secret; ``value`` and ``text`` hold a marker in its place."""


class Metric(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One point of a metric's history. ``value`` may be NaN or infinite; ``step`` is a signed 64-bit integer."""

    key: str
    value: float
    timestamp: int
    step: int = 0


class Series(msgspec.Struct, frozen=True, gc=False):
    """Many points of one metric, in the order logged, as three little-endian arrays of equal length: what takes a
    hundred nanoseconds a point where a :class:`Metric` takes a microsecond."""

    key: str
    steps: bytes
    """Signed 64-bit integers."""
    timestamps: bytes
    """Signed 64-bit integers, milliseconds since the epoch."""
    values: bytes
    """IEEE 754 64-bit numbers."""

    def __len__(self) -> int:
        return len(self.steps) // 8


class MetricSummary(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A metric of one run in a line. ``value``, ``step`` and ``timestamp`` are those of MLflow's *latest* point: the
    greatest (step, timestamp, value). ``min`` and ``max`` leave NaN out (None when there is nothing else)."""

    key: str
    value: float
    timestamp: int
    step: int
    count: int
    min: float | None = None
    max: float | None = None


class MetricPoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A point of a history, in the order logged."""

    step: int
    timestamp: int
    value: float


class Tag(msgspec.Struct, frozen=True, gc=False):
    """A mutable label; setting the same key again replaces the value."""

    key: str
    value: str


class Dataset(msgspec.Struct, frozen=True, omit_defaults=True):
    """A data set as used by runs. Identified by (name, digest)."""

    name: str
    digest: str
    source_type: str = "unknown"
    source: str = ""
    schema: str | None = None
    """JSON text."""
    profile: str | None = None
    """JSON text."""
    rows: int | None = None


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run's use of a data set; ``context`` is a word such as ``training``."""

    dataset: Dataset
    context: str = ""
    tags: tuple[Tag, ...] = ()


class ModelPoint(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A point of a metric that tells of a logged model, as measured on a data set. It is the model's, not the run's
    that logs it."""

    model_id: str
    metric: Metric
    dataset_name: str = ""
    dataset_digest: str = ""


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one logging call writes to a run: all of it becomes durable together, or none of it."""

    metrics: tuple[Metric, ...] = ()
    params: tuple[Param, ...] = ()
    tags: tuple[Tag, ...] = ()
    inputs: tuple[Input, ...] = ()
    series: tuple[Series, ...] = ()
    model_points: tuple[ModelPoint, ...] = ()


class StreamPosition(msgspec.Struct, frozen=True):
    """Where a write stands in its client's numbered stream. A position at or below the stream's watermark was applied
    before: it is acknowledged and not applied again. Numbers start at 1 and rise by one."""

    stream: str
    number: int


# --- runs ------------------------------------------------------------------------------------------------------------


class Reason(Record, frozen=True, kw_only=True):
    """Why a run ended FAILED or KILLED."""

    kind: ReasonKind
    message: str
    cell: int | None = None
    """0-based index of the cell in the executed notebook."""
    source: str | None = None
    traceback: str | None = None
    """Plain text, no terminal colours."""


class Runner(Record, frozen=True, kw_only=True):
    """The process that drives a run, named so that a later process can tell whether it still lives. A process is only
    the same when host, boot, pid and start time all agree."""

    host: str
    boot_id: str
    pid: int
    started: float
    """The process's start time, seconds since the epoch, as the operating system gives it."""
    kernel_pid: int | None = None
    kernel_started: float | None = None


class Experiment(Record, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    owner: str
    """A user's name, or ``group:NAME``."""
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    created: int
    updated: int
    tags: tuple[Tag, ...] = ()
    runs: int = 0
    """Active runs in it; counted by listings only."""
    last_run: int | None = None
    """Start of its newest run; in listings only."""


class Role(str, Enum):
    """What a share lets others do."""

    READ = "read"
    """See the experiment and all that is in it."""
    WRITE = "write"
    """Also create runs in it and log to its runs."""


class Share(Record, frozen=True, kw_only=True):
    """An experiment of somebody's, opened to a user, to a group, or to everyone who may read at all."""

    experiment_id: str
    to_user: str | None = None
    to_group: str | None = None
    to_everyone: bool = False
    role: Role
    user: str
    """Who shared it."""
    created: int


class Run(Record, frozen=True, kw_only=True):
    """One execution. In listings, params, metrics (summaries), tags and inputs are complete too."""

    run_id: str
    experiment_id: str
    name: str
    kind: RunKind
    user: str
    submitted_by: str | None = None
    """Who used the server of ``user`` to submit it, as that server says; nobody has verified it."""
    status: RunStatus
    reason: Reason | None = None
    created: int
    start_time: int
    end_time: int | None = None
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    parent_run_id: str | None = None
    source: str = ""
    """What was executed: the notebook's or script's path as the user knows it."""
    hidden_state: str | None = None
    """Set when the result may depend on code that is not in the record; says how."""
    progress: Progress | None = None
    runner: Runner | None = None
    heartbeat: int | None = None
    """When its runner last told that it lives (at first: when the run was created), in milliseconds since the epoch;
    None when it never did."""
    params: tuple[Param, ...] = ()
    metrics: tuple[MetricSummary, ...] = ()
    tags: tuple[Tag, ...] = ()
    inputs: tuple[Input, ...] = ()


class Progress(Record, frozen=True, kw_only=True):
    """How far a notebook run or a sweep is."""

    done: int
    total: int
    failed: int = 0


class NewRun(Record, frozen=True, kw_only=True):
    """What is known when a run begins. Absent ``run_id`` and ``name`` are made up; ``start_time`` defaults to now."""

    experiment_id: str
    kind: RunKind = RunKind.SESSION
    run_id: str | None = None
    name: str | None = None
    status: RunStatus = RunStatus.RUNNING
    start_time: int | None = None
    parent_run_id: str | None = None
    source: str = ""
    hidden_state: str | None = None
    submitted_by: str | None = None
    runner: Runner | None = None
    batch: Batch = Batch()


class RunChange(Record, frozen=True, kw_only=True):
    """What to change of a run; None leaves a field as it is."""

    name: str | None = None
    status: RunStatus | None = None
    reason: Reason | None = None
    end_time: int | None = None
    hidden_state: str | None = None
    progress: Progress | None = None
    runner: Runner | None = None


class Comment(Record, frozen=True, kw_only=True):
    comment_id: str
    run_id: str
    user: str
    text: str
    created: int


class Artifact(Record, frozen=True, kw_only=True):
    """A file, or in a listing a folder (then without size and digest), under its logical POSIX path."""

    path: str
    size: int | None = None
    digest: str | None = None
    """SHA-256, hex."""
    is_folder: bool = False
    created: int | None = None


class Part(Record, frozen=True, kw_only=True):
    """Bytes of a file that is on its way to a run in parts: ``size`` of them from ``offset`` on."""

    path: str
    """Of the file."""
    offset: int
    size: int
    digest: str
    """SHA-256 of these bytes, hex."""


# --- registry --------------------------------------------------------------------------------------------------------


class Alias(msgspec.Struct, frozen=True):
    alias: str
    version: int


class AliasMove(Record, frozen=True, kw_only=True):
    """One move of an alias: who, when, why, and what it replaced. ``version`` None means the alias was deleted."""

    model: str
    alias: str
    version: int | None
    replaced: int | None
    user: str
    at: int
    reason: str = ""


class RegisteredModel(Record, frozen=True, kw_only=True):
    name: str
    owner: str
    """A user's name, or ``group:NAME``."""
    restricted: bool = False
    """Whether only its owner (the user, or the members of the group) may see it."""
    description: str = ""
    created: int
    updated: int
    tags: tuple[Tag, ...] = ()
    aliases: tuple[Alias, ...] = ()
    latest_version: int | None = None


class ModelVersion(Record, frozen=True, kw_only=True):
    """Immutable bytes with a lineage to one run. Its files are listed with ``models.files``."""

    model: str
    version: int
    description: str = ""
    user: str
    created: int
    updated: int
    run_id: str | None = None
    source: str = ""
    """The URI it was registered from, such as ``runs:/<run_id>/model``."""
    digest: str = ""
    """SHA-256 over the sorted (path, file digest) pairs: equal bytes, equal digest."""
    size: int = 0
    safe: bool = True
    """Whether its format can be loaded without running code that came with it."""
    flavors: tuple[str, ...] = ()
    logged_model_id: str | None = None
    """The logged model that it was registered from."""
    tags: tuple[Tag, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the model, as MLflow calls it."""
        return self.model


class DatasetUse(Record, frozen=True, kw_only=True):
    """A run, and the versions registered from it, that used a data set."""

    dataset: Dataset
    run_id: str
    """Of a run that is gone, or that the caller may not see, only as what its versions came from."""
    context: str = ""
    versions: tuple[tuple[str, int], ...] = ()


class DatasetSummary(Record, frozen=True, kw_only=True):
    """That runs of an experiment used a data set, and for what."""

    experiment_id: str
    name: str
    digest: str
    context: str = ""


# --- housekeeping ----------------------------------------------------------------------------------------------------


class AuditEntry(Record, frozen=True, kw_only=True):
    number: int
    at: int
    user: str
    action: str
    target: str
    detail: Json = None


class Happening(Record, frozen=True, kw_only=True):
    """That something changed, for live views: whoever shows it looks again."""

    number: int
    """Of the event; nearly in order."""
    kind: str
    """``run.created``, ``run.changed``, ``experiment.created``, ``model.changed``, ``version.created``..."""
    owner: str
    target: str
    """The id of a run or an experiment, the name of a model."""
    at: int
    experiment_id: str | None = None
    detail: Json = None
    """What more is to be told. Of an ``experiment.changed``, ``{"runs": true}``: any of its runs may have changed, for
    they were deleted or restored with it, or with a run that they are below, or went for good."""
    run: Run | None = None
    """The run as it stands, with progress and latest metrics."""


class Collected(Record, frozen=True, kw_only=True):
    """What ``gc`` did, or would do on a dry run."""

    experiments: int = 0
    runs: int = 0
    blobs: int = 0
    bytes: int = 0
    unfinished: bool = False
    """Whether it is worth calling again, since this took long enough."""
