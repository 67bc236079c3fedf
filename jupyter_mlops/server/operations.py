"""What the extension offers of its own, below ``mlops/server/v1/``: one declaration each.

Requests are routed and validated by them, and ``openapi.json`` describes them. The paths beside, ``mlops/api/v1/``, are
those of :mod:`jupyter_mlops.tracker.operations`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.records import Json, Reason, Record, Run, RunStatus
from jupyter_mlops.core.reproduction import Reproduction
from jupyter_mlops.execution.engine import InstalledEngine

PREFIX = "server/v1/"


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of what is asked."""


class Nothing(Request, frozen=True):
    """No body, no query."""


class _How(Request, frozen=True, kw_only=True):
    path: str
    """The notebook, as the server's file browser shows it."""
    parameters: dict[str, Json] = {}
    """Values by name; checked against the notebook's ``parameters`` cell."""
    kernel: str | None = None
    """Instead of the notebook's own."""
    experiment: str | None = None
    """Where it is recorded; ``MLOPS_EXPERIMENT``, else the notebook's name when None."""
    owner: str | None = None
    """Whose experiment of that name: a user, or ``group:NAME``; what the name says, else the default owner, when
    None."""
    name: str | None = None
    tags: dict[str, str] = {}
    execution_timeout: float | None = None
    """The longest that a cell may take, in seconds."""


class NewRunJob(_How, frozen=True):
    """A run to be done."""


class _HowSwept(_How, frozen=True, kw_only=True):
    sample: int | None = None
    """So many of the combinations, at random."""
    optimize: str | None = None
    """Search the space by a metric, ``maximize:auc`` or ``minimize:loss``, instead of running all of it."""
    trials: int | None = None
    """Points that a search tries; 20 when None."""
    sampler: str | None = None
    """How a search proposes points: ``tpe`` (when None), ``gp``, ``cmaes``, ``qmc`` or ``random``."""
    seed: int | None = None
    """Makes a sample or a search repeatable."""
    metric: str | None = None
    """What runs are compared by when nothing is optimized."""
    maximize: bool = True
    stop: tuple[str, ...] = ()
    """Rules that end a run early: ``nan``, ``loss>100``, ``idle:10m``, ``median``."""
    budget: str | None = None
    """Begin no further point after this time, such as ``2h``."""
    engine: str | None = None
    """What runs the notebooks, ``fork`` when None."""
    cluster: str | None = None
    """Where, for the engine ``dask``: the address of a scheduler, ``gateway:URL`` or ``local:N``."""
    retries: int = 0
    """How often a point is run again whose runner was lost."""
    jobs: int | None = None
    """Notebooks at once; when None, as many as the server allows or, on a cluster, as there are threads."""


class NewSweepJob(_HowSwept, frozen=True):
    """A sweep to be done."""

    grid: tuple[str, ...]
    """The space, one axis each: ``lr=0.01,0.1``, ``depth=3:9:2``, ``lr=log(1e-4,1e-1,4)``; for samples and
    searches also ``lr=loguniform(1e-4,1e-1)``, ``x=uniform(0,1)``, ``depth=int(3,9)``."""


class Intent(_HowSwept, frozen=True):
    """A run, or with a ``grid`` a sweep, that somebody is about to submit."""

    grid: tuple[str, ...] = ()


class Again(Request, frozen=True):
    """A run or sweep to be done again."""

    parameters: dict[str, Json] = {}
    """The values of secret parameters, which are not kept."""


class Repeated(Request, frozen=True):
    """A run's repetition."""

    again: str
    """Its id."""
    tolerance: float = 0.0
    """By how much a metric may differ, relative to the recorded value."""


class Since(Request, frozen=True):
    start: int = 0
    """The byte to start at; negative: so many bytes before the end."""


class AtPath(Request, frozen=True):
    path: str


class Limit(Request, frozen=True):
    limit: int = 100


class JobStatus(Record, frozen=True, kw_only=True):
    """A submitted run or sweep, and how it stands."""

    run_id: str
    """The run that records it, which exists since it was submitted."""
    name: str
    path: str
    is_sweep: bool
    status: RunStatus
    submitted: int
    """Milliseconds since the epoch, as all times."""
    submitted_by: str | None = None
    started: int | None = None
    ended: int | None = None
    reason: Reason | None = None
    ahead: int = 0
    """Submitted runs that wait before it."""
    notice: str | None = None
    """What to know about it before it has ended."""
    secrets: tuple[str, ...] = ()
    """Parameters whose values are not kept: a retry asks for them."""
    run: Run | None = None
    """The record, with its progress; left out of lists, and while it cannot be read."""


class Jobs(Record, frozen=True, kw_only=True):
    jobs: tuple[JobStatus, ...]
    """Newest first."""


class JobLog(Record, frozen=True, kw_only=True):
    """A part of what the process of a job printed."""

    text: str
    start: int
    """The byte of the log that it starts at."""
    end: int
    """Where the next part starts."""


class Form(Record, frozen=True, kw_only=True):
    """What a notebook takes."""

    path: str
    kernel: str
    language: str
    experiment: str
    """Where it is recorded unless told."""
    has_parameters_cell: bool
    parameters: dict[str, Any]
    """JSON Schema (2020-12) of an object with a property a parameter. A secret is ``writeOnly``; a default that JSON
    cannot say is, as its code, ``x-default``."""
    is_shared: bool
    """It is open in a browser, and runs as its editors see it."""
    engines: tuple[InstalledEngine, ...]
    """What may run the notebooks of a sweep; the first unless told."""


class FieldProblem(Record, frozen=True, kw_only=True):
    """Why something would be refused."""

    field: str
    """A field of the request, such as ``kernel``; of a parameter or its axis ``parameters.NAME``."""
    message: str


class Plan(Record, frozen=True, kw_only=True):
    """What would come of an intent."""

    runs: int | None
    """How many runs of the notebook; None while the problems leave that open."""
    at_once: int
    """How many of them at a time."""
    ends_with_server: bool
    """They end when this Jupyter server is stopped."""
    problems: tuple[FieldProblem, ...] = ()


class Spool(Record, frozen=True, kw_only=True):
    """What was logged on this machine and is not stored."""

    waiting: int | None
    """Entries that will be stored; None while nobody can say which are."""
    refused: int
    """Entries that the store does not take; ``jupyter mlops db status`` tells more."""
    damaged: tuple[str, ...] = ()


class ServerStatus(Record, frozen=True, kw_only=True):
    """How the extension does."""

    version: str
    url: str
    """The store, without passwords."""
    is_service: bool
    connected: bool
    """Whether the store answers."""
    problem: str | None = None
    """Why it does not."""
    owner: str
    working: int
    waiting: int
    limit: int
    """Notebooks at once."""
    spool: Spool
    warnings: tuple[str, ...] = ()
    """Of quotas of the user and their groups that are nearly used up."""


class _OneJob(msgspec.Struct, frozen=True):
    run_id: str


class Endpoint(msgspec.Struct, frozen=True):
    """One request and its answer. ``method`` and ``path`` are HTTP's; what is in braces is a parameter. Read by the
    service's handlers as an :class:`~jupyter_mlops.tracker.operations.Operation` is."""

    name: str
    method: str
    path: str
    scope: Scope
    request: type[Request]
    answer: type[Record | Request]
    summary: str

    decides: ClassVar[bool] = False
    """Nothing that is asked here decides for others."""

    @property
    def id(self) -> str:
        return f"server.{self.name}"

    @property
    def has_body(self) -> bool:
        return self.method == "POST"

    @property
    def path_fields(self) -> type[msgspec.Struct]:
        return _OneJob if "{" in self.path else Nothing

    @property
    def body(self) -> type[Request]:
        return self.request

    query = body


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("submit", "POST", "runs", Scope.WRITE, NewRunJob, JobStatus, "Submit a run of a notebook."),
    Endpoint("sweep", "POST", "sweeps", Scope.WRITE, NewSweepJob, JobStatus, "Submit a sweep of a notebook."),
    Endpoint("plan", "POST", "plan", Scope.READ, Intent, Plan, "What would come of a run or sweep; does nothing."),
    Endpoint("intent", "GET", "runs/{run_id}/intent", Scope.READ, Nothing, Intent, "How a recorded run was begun."),
    Endpoint(
        "reproduce",
        "POST",
        "runs/{run_id}/reproduction",
        Scope.WRITE,
        Again,
        JobStatus,
        "Run a recorded run again.",
    ),
    Endpoint(
        "reproduction", "GET", "runs/{run_id}/reproduction", Scope.READ, Repeated, Reproduction, "Whether it agrees."
    ),
    Endpoint("jobs", "GET", "jobs", Scope.READ, Limit, Jobs, "Submitted runs and sweeps, newest first."),
    Endpoint("job", "GET", "jobs/{run_id}", Scope.READ, Nothing, JobStatus, "One of them, with its live progress."),
    Endpoint("cancel", "POST", "jobs/{run_id}/cancel", Scope.WRITE, Nothing, JobStatus, "Cancel one."),
    Endpoint("retry", "POST", "jobs/{run_id}/retry", Scope.WRITE, Again, JobStatus, "Do one again that has ended."),
    Endpoint("log", "GET", "jobs/{run_id}/log", Scope.READ, Since, JobLog, "What its process printed."),
    Endpoint("form", "GET", "notebook", Scope.READ, AtPath, Form, "What parameters a notebook takes."),
    Endpoint("status", "GET", "status", Scope.READ, Nothing, ServerStatus, "The server, its store and its spool."),
)
