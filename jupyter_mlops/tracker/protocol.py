"""The one door: every read and write of experiments, runs, artifacts and models goes through a :class:`Tracker`.

A tracker is one attribute a noun. All implementations (embedded on SQLite, embedded on PostgreSQL, remote) pass the
same contract suite in ``tests/contract``.

Rules that hold for each operation:

- **Thread-safe.** Any thread may call; after a fork, a child must open a tracker of its own.
- **Durable.** A write has returned only after it survives ``kill -9`` of this process and of the database's client.
- **Atomic.** A call does all of what it says or none of it.
- **Errors** are those of :mod:`jupyter_mlops.core.errors`. What does not exist and what the principal may not see raise
  the same :class:`~jupyter_mlops.core.errors.NotFound`.
- **Deleted** things are found only where a ``view`` asks for them, and by their id.
- **Access** is by owner: a user or a group. Experiments, with all that is in them, are visible to their owner (the
  user, the members of the group) and to those they are shared with; registered models to all who may read, unless
  restricted. What decides for others (sharing, handing over, restricting) is refused with ``PermissionDenied`` to a
  principal that does not decide (:class:`~jupyter_mlops.core.access.Principal`). Administrators see and may do all.
- **Owner** of what is created: ``owner`` when given, else the principal's default owner, else their only group, else
  they themselves; ``PermissionDenied`` when they may not write to that owner's things.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.audit import AuditHead, AuditVerdict, SealedEntry
from jupyter_mlops.core.compare import Comparison
from jupyter_mlops.core.issued import DEFAULT_SECONDS, IssuedToken
from jupyter_mlops.core.model_card import Consumer, ModelCard
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.promotion import NotebookChanges
from jupyter_mlops.core.records import (
    DEFAULT_PAGE,
    LARGEST_PAGE,
    Alias,
    AliasMove,
    Artifact,
    AuditEntry,
    Batch,
    Collected,
    Comment,
    DatasetSummary,
    DatasetUse,
    Experiment,
    MetricPoint,
    ModelVersion,
    NewRun,
    Page,
    RegisteredModel,
    Role,
    Run,
    RunChange,
    Share,
    StreamPosition,
    View,
)
from jupyter_mlops.tracker.accesstokens import AccessTokens
from jupyter_mlops.tracker.files import Artifacts
from jupyter_mlops.tracker.limits import Quotas, Retentions
from jupyter_mlops.tracker.logged import LoggedModels
from jupyter_mlops.tracker.people import People
from jupyter_mlops.tracker.promoting import Checks, Policies, Promotions
from jupyter_mlops.tracker.webhooks import Webhooks

__all__ = [
    "DEFAULT_PAGE",
    "LARGEST_PAGE",
    "AccessTokens",
    "Artifacts",
    "Checks",
    "Datasets",
    "Experiments",
    "LoggedModels",
    "LogsAndChanges",
    "Models",
    "People",
    "Policies",
    "Promotions",
    "Quotas",
    "Retentions",
    "Runs",
    "Tracker",
    "Webhooks",
]


class Experiments(Protocol):
    """Where :meth:`create`, :meth:`ensure` and :meth:`find` get a name and no owner, ``GROUP/NAME`` means ``NAME`` of
    ``group:GROUP`` when the caller belongs to that group; any other slash is part of the name."""

    def create(self, name: str, *, owner: str | None = None, tags: Mapping[str, str] | None = None) -> Experiment:
        """Create an experiment; ``AlreadyExists`` when the owner has one of that name (deleted ones count too)."""

    def ensure(self, name: str, *, owner: str | None = None) -> Experiment:
        """The owner's active experiment of that name, created when there is none. Two callers at once get the same
        one. ``Conflict`` when it exists but is deleted."""

    def get(self, experiment_id: str) -> Experiment: ...

    def find(self, name: str) -> Experiment:
        """The experiment of that name, deleted or not: the default owner's, else the caller's own, else the only one
        that the caller may see. ``NotFound`` when there is none, ``InvalidValue`` with the owners when several are
        left."""

    def search(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        view: View = View.ACTIVE,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Experiment]:
        """MLflow's grammar over ``name``, ``creation_time``, ``last_update_time`` and ``tags.*``; newest first."""

    def rename(self, experiment_id: str, name: str) -> None: ...

    def set_tags(self, experiment_id: str, tags: Mapping[str, str]) -> None: ...

    def delete_tag(self, experiment_id: str, key: str) -> None: ...

    def delete(self, experiment_id: str) -> None:
        """Mark deleted, with its runs; :meth:`restore` brings back what this call deleted."""

    def restore(self, experiment_id: str) -> None: ...

    def share(
        self,
        experiment_id: str,
        *,
        to_user: str | None = None,
        to_group: str | None = None,
        to_everyone: bool = False,
        role: Role | str = Role.READ,
    ) -> None:
        """Open an experiment to exactly one of a user, a group, or everyone who may read; once more to the same
        changes the role.

        ``read`` shows the experiment, its runs, artifacts, histories and comments; ``write`` also lets create runs in
        it and write to its runs. Renaming, tagging, deleting, sharing and handing over the experiment, and deleting and
        restoring its runs, stay its owner's. A share gives nobody more than their own credential does.
        """

    def unshare(
        self,
        experiment_id: str,
        *,
        to_user: str | None = None,
        to_group: str | None = None,
        to_everyone: bool = False,
    ) -> None:
        """Take a share back; ``NotFound`` when there is none."""

    def shares(self, experiment_id: str) -> tuple[Share, ...]:
        """With whom it is shared; those it is shared with see only the shares that mean them."""

    def transfer(self, experiment_id: str, owner: str) -> None:
        """Hand it over to a user, or to ``group:NAME``; its shares stay. ``NameTaken`` when that owner has an
        experiment of its name."""


@runtime_checkable
class LogsAndChanges(Protocol):
    """What logs to a run and then changes it as cheaply as it does one of the two."""

    def log_and_change(
        self, run_id: str, batch: Batch, change: RunChange, position: StreamPosition | None = None
    ) -> Run:
        """:meth:`Runs.log`, then :meth:`Runs.change`: both are done, or none."""


class Runs(Protocol):
    def create(self, new: NewRun, position: StreamPosition | None = None) -> Run:
        """Create a run with what ``new.batch`` logs, in one transaction. Creating the same ``run_id`` again with the
        same experiment returns the run as it is (so that a resend is harmless)."""

    def get(self, run_id: str) -> Run: ...

    def resolve(self, text: str, *, experiment_id: str | None = None) -> Run:
        """The run that ``text`` names: an id, a unique prefix of an id (4 characters or more), or a name.

        Raises ``NotFound``, or ``InvalidValue`` listing the candidates when several runs match. Of several runs with
        the same name in one experiment, none is preferred.
        """

    def search(
        self,
        experiment_ids: Sequence[str] = (),
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        view: View = View.ACTIVE,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Run]:
        """Runs of the experiments (of all visible ones when none is given), complete with params, metric summaries,
        tags and inputs. ``filter`` and ``order_by`` are MLflow's grammar (:mod:`jupyter_mlops.core.filters`); ties and
        the default order are newest start first, then id. A page token is bound to its query and names a place in
        the ordering, so that runs added meanwhile neither repeat nor hide others."""

    def log(self, run_id: str, batch: Batch, position: StreamPosition | None = None) -> None:
        """Write ``batch``. An identical param again is harmless, a different value for a logged param raises
        ``InvalidValue`` and nothing of the batch is written. Allowed while the run is active, whatever its status;
        ``Conflict`` when the run is deleted."""

    def change(self, run_id: str, change: RunChange, position: StreamPosition | None = None) -> Run:
        """Change status and other fields. Ending a run sets ``end_time`` to now unless given; a status that is not an
        end clears it. Metric chunks are merged at the end."""

    def heartbeat(self, run_id: str) -> None:
        """Say that the run's runner lives."""

    def delete_tag(self, run_id: str, key: str) -> None: ...

    def delete(self, run_id: str) -> None:
        """Mark deleted, with those of its children that are the caller's to delete; bytes stay until
        :meth:`Tracker.gc`."""

    def restore(self, run_id: str) -> None: ...

    def history(
        self, run_id: str, key: str, *, limit: int = LARGEST_PAGE, page_token: str | None = None
    ) -> Page[MetricPoint]:
        """The points of one metric as logged, an identical (step, timestamp, value) once."""

    def sampled(
        self, run_id: str, key: str, width: int, *, first: int | None = None, last: int | None = None
    ) -> tuple[MetricPoint, ...]:
        """At most ``4 * width`` points of a history, ordered by step, that keep every bucket's first, last, least and
        greatest value (M4: Jugel et al., VLDB 2014); of the steps ``first`` to ``last`` only, where given."""

    def watermark(self, stream: str) -> int:
        """The highest position of ``stream`` that was applied; 0 for an unknown stream, and for one that another user
        began. Writing through that is refused with ``PermissionDenied``; administrators may use all streams."""

    def comment(self, run_id: str, text: str) -> Comment: ...

    def comments(self, run_id: str) -> tuple[Comment, ...]: ...

    def active(self) -> tuple[Run, ...]:
        """Visible runs with status RUNNING or SCHEDULED that this principal made, for finding lost ones."""

    def children(self, run_id: str) -> tuple[Run, ...]:
        """Active direct children, oldest first."""


class Models(Protocol):
    """The registry. Model names are plain: 1 to 250 characters, no ``/`` and no ``:``."""

    def create(
        self, name: str, *, description: str = "", tags: Mapping[str, str] | None = None, owner: str | None = None
    ) -> RegisteredModel:
        """Create a model; ``AlreadyExists`` when there is one of that name, ``NameTaken``, which says no more, when
        the caller may not see it."""

    def get(self, name: str) -> RegisteredModel: ...

    def search(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[RegisteredModel]: ...

    def update(self, name: str, *, description: str | None = None, new_name: str | None = None) -> RegisteredModel: ...

    def set_tags(self, name: str, tags: Mapping[str, str], *, version: int | None = None) -> None: ...

    def delete_tag(self, name: str, key: str, *, version: int | None = None) -> None: ...

    def delete(self, name: str) -> None:
        """Delete a model with its versions and aliases; their bytes are freed by ``gc``. ``Conflict`` while an alias
        points at one of them."""

    def restrict(self, name: str, restricted: bool) -> RegisteredModel:
        """Show the model, its versions and aliases to its owner only, or again to all who may read."""

    def transfer(self, name: str, owner: str) -> None:
        """Hand it over to a user, or to ``group:NAME``."""

    def register(
        self,
        name: str,
        run_id: str,
        path: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        version: int | None = None,
    ) -> ModelVersion:
        """Make a version from the model directory at ``path`` of a run; the model is created when there is none, as
        the run's owner's where the caller may write to their things. ``version`` is its number, the next one when
        None; ``Conflict`` when one that high was given before.

        The version keeps its own reference to the bytes: deleting the run later does not touch it. ``InvalidValue``
        when ``path`` holds no ``MLmodel`` file, saying which folders of the run do.
        """

    def refer(
        self,
        name: str,
        source: str,
        *,
        run_id: str | None = None,
        logged_model_id: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Make a version of what is elsewhere: ``models:/NAME/NUMBER`` is a copy of that version, whose files it
        shares; of anything else only ``source`` is noted. Such a version has no files, and is not safe. The model
        exists; ``run_id``, 32 characters at most, is what the caller says it comes from."""

    def version(self, name: str, version: int) -> ModelVersion: ...

    def resolve(self, name: str, reference: str) -> ModelVersion:
        """The version meant by ``reference``: a number, ``@alias`` or ``latest``."""

    def versions(
        self,
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        """MLflow's grammar over ``name``, ``run_id``, ``version_number`` and ``tags.*``."""

    def update_version(self, name: str, version: int, *, description: str) -> ModelVersion: ...

    def delete_version(self, name: str, version: int) -> None:
        """``Conflict`` while an alias points at it. Numbers are never used again."""

    def files(self, name: str, version: int) -> tuple[Artifact, ...]: ...

    def stat(self, name: str, version: int, path: str) -> Artifact:
        """The version's file at ``path``; ``NotFound`` when there is none."""

    def open(
        self, name: str, version: int, path: str, *, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]: ...

    def download(self, name: str, version: int, destination: Path) -> Path:
        """Write the version's files into ``destination`` (created, or empty), each verified by its digest."""

    def set_alias(self, name: str, alias: str, version: int, *, reason: str = "") -> Alias:
        """Point ``alias`` at ``version`` in one transaction; the move is on record. ``PermissionDenied`` for a
        protected alias, which moves by a promotion (:mod:`jupyter_mlops.tracker.promoting`)."""

    def delete_alias(self, name: str, alias: str, *, reason: str = "") -> None: ...

    def alias_history(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """The moves of one alias, or of all, oldest first."""

    def consume(self, name: str, version: int, *, reference: str = "", purpose: str = "") -> None:
        """Note that the caller loads a version: by which alias (``@production``; empty for a number), and what for. Of
        one caller and version, the last 50 aliases are kept, and the last 20 purposes of each."""

    def consumers(self, name: str) -> tuple[Consumer, ...]:
        """Who loads which version, the last first; who may not see the owner's other things sees only themselves."""

    def card(self, name: str, version: int) -> ModelCard:
        """What is to be known of a version: what was written, else a draft from the record, which has of the version's
        run what the caller may see."""

    def set_card(self, name: str, version: int, text: str) -> ModelCard:
        """Write the card of a version, Markdown; an empty text brings the draft back."""


class Datasets(Protocol):
    def search(self, experiment_ids: Sequence[str]) -> tuple[DatasetSummary, ...]:
        """Which data sets the active runs of the experiments used, by name; those of at most 1000 rows. What is not
        visible has none."""

    def uses(self, digest: str) -> tuple[DatasetUse, ...]:
        """Which visible runs, and visible versions registered from them, used a data set of this digest. A version
        whose run is deleted, gone or not visible has an entry of its own, by what the run had used when it was
        registered; of another owner's, only the data set's name and digest."""


class Tracker(Protocol):
    """See the module's text for the rules. Closing flushes; a closed tracker raises on use. It is a context manager."""

    principal: Principal
    url: str
    """Where it is, with any password masked."""

    @property
    def experiments(self) -> Experiments: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def models(self) -> Models: ...
    @property
    def datasets(self) -> Datasets: ...
    @property
    def promotions(self) -> Promotions: ...
    @property
    def policies(self) -> Policies: ...
    @property
    def checks(self) -> Checks: ...
    @property
    def webhooks(self) -> Webhooks: ...
    @property
    def logged_models(self) -> LoggedModels: ...
    @property
    def quotas(self) -> Quotas: ...
    @property
    def retention(self) -> Retentions: ...
    @property
    def people(self) -> People: ...
    @property
    def access_tokens(self) -> AccessTokens: ...

    def page(self) -> ServicePage | None:
        """Where people see in a browser what is here; None where there is no such page."""

    def compare(self, run_ids: Sequence[str]) -> Comparison:
        """Up to 500 runs side by side, with what their files say: source notebook and installed packages."""

    def compare_notebooks(self, run_id: str, other: str) -> NotebookChanges:
        """How the code of the notebook that ``run_id`` executed becomes that of the run ``other``, cell by cell.
        ``InvalidValue`` when one of the two has no notebook that can be read."""

    def audit(self, *, limit: int = DEFAULT_PAGE, before: int | None = None) -> tuple[AuditEntry, ...]:
        """What was done by whom, newest first; of others only for administrators."""

    def audit_head(self) -> AuditHead:
        """Seal what is on record (audit, moves of aliases) and give the digest of all of it, to be kept elsewhere. For
        administrators."""

    def audit_verify(self, published: str = "") -> AuditVerdict:
        """Compare the record with its seals, and with heads that were kept elsewhere: lines as
        :func:`jupyter_mlops.core.audit.written` makes them. For administrators."""

    def issue_token(self, seconds: int = DEFAULT_SECONDS) -> IssuedToken:
        """A token with which processes elsewhere write for the caller for so long; see :mod:`..core.issued`."""

    def revoke_token(self, token: str) -> None:
        """Have a token of :meth:`issue_token` count no more, ten seconds later at the latest: whoever has it may do so.
        Of no effect on what is none."""

    def audit_export(self, *, after: int = 0, limit: int = DEFAULT_PAGE) -> tuple[SealedEntry, ...]:
        """The permanent record with its seals, in their order, from behind the position ``after`` on; what is not
        sealed yet is not among it (:meth:`audit_head` seals it). For administrators."""

    def gc(self, *, older_than_seconds: float = 0.0, dry_run: bool = False) -> Collected:
        """Remove deleted runs and experiments for good and free bytes that nothing refers to: never those of a version,
        nor of an upload in flight. Runs that promoted models descend from stay, deleted as they are.

        One call takes some seconds: where there is very much, its answer is ``unfinished``, and the next goes on."""

    def close(self) -> None: ...

    def __enter__(self) -> Tracker: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
