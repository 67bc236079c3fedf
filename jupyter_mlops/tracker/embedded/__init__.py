"""The tracker on a database and an artifact location of its own process. The only place where access is decided."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import AuditEntry, Collected
from jupyter_mlops.store import events
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.embedded.datasets import EmbeddedDatasets
from jupyter_mlops.tracker.embedded.experiments import EmbeddedExperiments
from jupyter_mlops.tracker.embedded.runs import EmbeddedRuns
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE, LARGEST_PAGE

if TYPE_CHECKING:
    from jupyter_mlops.tracker.embedded.artifacts import EmbeddedArtifacts
    from jupyter_mlops.tracker.embedded.models import EmbeddedModels


@checked
class EmbeddedTracker:
    """See :class:`jupyter_mlops.tracker.protocol.Tracker`.

    Parameters
    ----------
    database
        With the current schema; closed with the tracker.
    artifacts_url
        A folder or an fsspec URL.
    principal
        Who is asking.
    """

    def __init__(self, database: Database, artifacts_url: str, principal: Principal) -> None:
        self.principal = principal
        self.url = database.url
        self.database = database
        self._context = Context(database, artifacts_url, principal)
        self.experiments = EmbeddedExperiments(self._context)
        self.runs = EmbeddedRuns(self._context)
        self.datasets = EmbeddedDatasets(self._context)

    # Reaching for bytes imports fsspec and more; most trackers only log.

    @cached_property
    def artifacts(self) -> EmbeddedArtifacts:
        from jupyter_mlops.tracker.embedded.artifacts import EmbeddedArtifacts

        return EmbeddedArtifacts(self._context)

    @cached_property
    def models(self) -> EmbeddedModels:
        from jupyter_mlops.tracker.embedded.models import EmbeddedModels

        return EmbeddedModels(self._context)

    def audit(self, *, limit: int = DEFAULT_PAGE, before: int | None = None) -> tuple[AuditEntry, ...]:
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {limit} is out of range; 1 to {LARGEST_PAGE} are possible")
        principal = self.principal
        # Entries name things of others, so that only administrators see more than their own.
        actor = None if principal.scope >= Scope.ADMIN else principal.name
        with self._context.read() as connection:
            return events.list_audit(connection, limit=limit, before=before, actor=actor)

    def gc(self, *, older_than_seconds: float = 0.0, dry_run: bool = False) -> Collected:
        from jupyter_mlops.tracker.embedded.collection import collect

        return collect(self._context, older_than_seconds=older_than_seconds, dry_run=dry_run)

    def close(self) -> None:
        self._context.close()

    def __enter__(self) -> EmbeddedTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
