"""The tracker on a database and an artifact location of its own process. The only place where access is decided."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import InvalidValue, PermissionDenied
from jupyter_mlops.core.issued import DEFAULT_SECONDS, IssuedToken
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.core.records import AuditEntry, Collected
from jupyter_mlops.store import events, heartbeats
from jupyter_mlops.tracker.embedded._context import Context, Members, OpenStore
from jupyter_mlops.tracker.embedded.datasets import EmbeddedDatasets
from jupyter_mlops.tracker.embedded.experiments import EmbeddedExperiments
from jupyter_mlops.tracker.embedded.runcalls import RunCalls
from jupyter_mlops.tracker.embedded.runs import EmbeddedRuns
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE, LARGEST_PAGE

if TYPE_CHECKING:
    from jupyter_mlops.core.audit import AuditHead, AuditVerdict, SealedEntry
    from jupyter_mlops.core.compare import Comparison
    from jupyter_mlops.core.promotion import NotebookChanges
    from jupyter_mlops.core.retention import Expiry
    from jupyter_mlops.store.calls import RunCall
    from jupyter_mlops.store.figures import Figures
    from jupyter_mlops.store.groupcommit import GroupCommit
    from jupyter_mlops.tracker.embedded.accesstokens import EmbeddedAccessTokens
    from jupyter_mlops.tracker.embedded.artifacts import EmbeddedArtifacts
    from jupyter_mlops.tracker.embedded.checkjobs import EmbeddedChecks
    from jupyter_mlops.tracker.embedded.feed import Feed
    from jupyter_mlops.tracker.embedded.loggedmodels import EmbeddedLoggedModels
    from jupyter_mlops.tracker.embedded.models import EmbeddedModels
    from jupyter_mlops.tracker.embedded.people import EmbeddedPeople
    from jupyter_mlops.tracker.embedded.policies import EmbeddedPolicies
    from jupyter_mlops.tracker.embedded.promotions import EmbeddedPromotions
    from jupyter_mlops.tracker.embedded.quotas import EmbeddedQuotas
    from jupyter_mlops.tracker.embedded.retention import EmbeddedRetention
    from jupyter_mlops.tracker.embedded.webhooks import EmbeddedWebhooks, Outgoing

__all__ = ["EmbeddedTracker", "OpenStore", "RunCalls"]


@checked
class EmbeddedTracker:
    """See :class:`jupyter_mlops.tracker.protocol.Tracker`.

    Parameters
    ----------
    store
        Its database has the current schema. Closed with the tracker, unless ``is_view``.
    principal
        Who is asking.
    is_view
        Whether another tracker opened the store and closes it.
    """

    def __init__(self, store: OpenStore, principal: Principal, *, is_view: bool = False) -> None:
        self.principal = principal
        self.url = store.database.url
        self.database = store.database
        self._store = store
        self._is_view = is_view
        self._context = Context(store, principal)

    # Made when first used: a view serves one request, and reaching for bytes imports fsspec and more.

    @cached_property
    def experiments(self) -> EmbeddedExperiments:
        return EmbeddedExperiments(self._context)

    @cached_property
    def runs(self) -> EmbeddedRuns:
        return EmbeddedRuns(self._context)

    @cached_property
    def datasets(self) -> EmbeddedDatasets:
        return EmbeddedDatasets(self._context)

    @cached_property
    def artifacts(self) -> EmbeddedArtifacts:
        from jupyter_mlops.tracker.embedded.artifacts import EmbeddedArtifacts

        return EmbeddedArtifacts(self._context)

    @cached_property
    def models(self) -> EmbeddedModels:
        from jupyter_mlops.tracker.embedded.models import EmbeddedModels

        return EmbeddedModels(self._context)

    @cached_property
    def promotions(self) -> EmbeddedPromotions:
        from jupyter_mlops.tracker.embedded.promotions import EmbeddedPromotions

        return EmbeddedPromotions(self._context)

    @cached_property
    def policies(self) -> EmbeddedPolicies:
        from jupyter_mlops.tracker.embedded.policies import EmbeddedPolicies

        return EmbeddedPolicies(self._context)

    @cached_property
    def checks(self) -> EmbeddedChecks:
        from jupyter_mlops.tracker.embedded.checkjobs import EmbeddedChecks

        return EmbeddedChecks(self._context)

    @cached_property
    def webhooks(self) -> EmbeddedWebhooks:
        from jupyter_mlops.tracker.embedded.webhooks import EmbeddedWebhooks

        return EmbeddedWebhooks(self._context)

    @cached_property
    def logged_models(self) -> EmbeddedLoggedModels:
        from jupyter_mlops.tracker.embedded.loggedmodels import EmbeddedLoggedModels

        return EmbeddedLoggedModels(self._context)

    @cached_property
    def quotas(self) -> EmbeddedQuotas:
        from jupyter_mlops.tracker.embedded.quotas import EmbeddedQuotas

        return EmbeddedQuotas(self._context)

    @cached_property
    def retention(self) -> EmbeddedRetention:
        from jupyter_mlops.tracker.embedded.retention import EmbeddedRetention

        return EmbeddedRetention(self._context)

    @cached_property
    def people(self) -> EmbeddedPeople:
        from jupyter_mlops.tracker.embedded.people import EmbeddedPeople

        return EmbeddedPeople(self._context)

    @cached_property
    def access_tokens(self) -> EmbeddedAccessTokens:
        from jupyter_mlops.tracker.embedded.accesstokens import EmbeddedAccessTokens

        return EmbeddedAccessTokens(self._context)

    def acting_for(self, principal: Principal) -> EmbeddedTracker:
        """This open store as ``principal`` sees it, with the same database connections, files and writer.

        Takes microseconds. Closing the view leaves the store open; closing this tracker ends its views.
        """
        return EmbeddedTracker(self._store, principal, is_view=True)

    def ask_members(self, members: Members) -> None:
        """Let this store's trackers know who belongs to groups: a request that none of a group's members could approve
        is refused at once then. It may be called from any thread."""
        self._store.members = members

    def page(self) -> ServicePage | None:
        """None: see :meth:`jupyter_mlops.tracker.protocol.Tracker.page`. A service that serves this store has one."""
        return None

    def compare(self, run_ids: Sequence[str]) -> Comparison:
        from jupyter_mlops.tracker.evidence import compare_runs

        return compare_runs(self, run_ids)

    def compare_notebooks(self, run_id: str, other: str) -> NotebookChanges:
        from jupyter_mlops.tracker.evidence import compare_notebooks

        return compare_notebooks(self, run_id, other)

    def audit(self, *, limit: int = DEFAULT_PAGE, before: int | None = None) -> tuple[AuditEntry, ...]:
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidValue(f"limit: {limit} is out of range; 1 to {LARGEST_PAGE} are possible")
        principal = self.principal
        if principal.scope < Scope.READ:
            return ()
        # Entries name things of others, so that only administrators see more than their own.
        actor = None if principal.scope >= Scope.ADMIN else principal.name
        with self._context.read() as connection:
            return events.list_audit(connection, limit=limit, before=before, actor=actor)

    def audit_head(self) -> AuditHead:
        from jupyter_mlops.tracker.embedded.sealing import audit_head

        return audit_head(self._context)

    def audit_verify(self, published: str = "") -> AuditVerdict:
        from jupyter_mlops.tracker.embedded.sealing import audit_verify

        return audit_verify(self._context, published)

    def issue_token(self, seconds: int = DEFAULT_SECONDS) -> IssuedToken:
        from jupyter_mlops.tracker.embedded.issuing import issue

        return issue(self._context, seconds)

    def revoke_token(self, token: str) -> None:
        from jupyter_mlops.tracker.embedded.issuing import revoke

        revoke(self._context, token)

    def audit_export(self, *, after: int = 0, limit: int = DEFAULT_PAGE) -> tuple[SealedEntry, ...]:
        from jupyter_mlops.tracker.embedded.sealing import audit_export

        return audit_export(self._context, after=after, limit=limit)

    def gc(self, *, older_than_seconds: float = 0.0, dry_run: bool = False) -> Collected:
        from jupyter_mlops.tracker.embedded.collection import collect

        return collect(self._context, older_than_seconds=older_than_seconds, dry_run=dry_run)

    def end_silent_runs(self, silent_seconds: float) -> list[str]:
        """End the runs whose runner was not heard of for so long; gives their ids. For a service, for which a run on
        another machine cannot be looked after otherwise; one that was heard again goes on."""
        if self.principal.scope < Scope.ADMIN:
            raise PermissionDenied(f"ending silent runs needs the scope 'admin', which {self.principal.name!r} lacks")
        now = self._context.clock()
        with self._context.write() as connection:
            return heartbeats.end_silent(connection, now - round(silent_seconds * 1000), now)

    def end_requests(self) -> int:
        """Close the requests for promotion whose time is over; gives how many. For a service, so that a clock which is
        set back revives none."""
        if self.principal.scope < Scope.ADMIN:
            raise PermissionDenied(f"closing requests needs the scope 'admin', which {self.principal.name!r} lacks")
        from jupyter_mlops.tracker.embedded.deciding import end_requests

        return end_requests(self._context)

    def keep_house(self, collect_after_days: float) -> tuple[Expiry, Collected] | None:
        """Apply the rules of retention, and collect what was deleted more than ``collect_after_days`` ago (nothing when
        0): once a day, whichever of a store's services asks first; None for all others. For a service."""
        if self.principal.scope < Scope.ADMIN:
            raise PermissionDenied(f"keeping house needs the scope 'admin', which {self.principal.name!r} lacks")
        from jupyter_mlops.tracker.embedded.retention import daily

        return daily(self._context, collect_after_days)

    def principal_of_check(self, token_digest: str) -> Principal | None:
        """Who the token of a check stands for, by its digest; None when there is no such check, or it is over."""
        from jupyter_mlops.tracker.embedded.checkjobs import principal_of_token

        return principal_of_token(self._context, token_digest)

    def principal_of_issued(self, token_digest: str) -> Principal | None:
        """Who a token stands for that the store issued, by its digest; None when it does not count."""
        from jupyter_mlops.tracker.embedded.issuing import principal_of_token

        return principal_of_token(self._context, token_digest)

    def figures(self) -> Figures:
        """What is going on in the whole store, and what is stored, in numbers; for a service."""
        from jupyter_mlops.store.figures import figures

        if self.principal.scope < Scope.ADMIN:
            raise PermissionDenied(f"figures of a store need the scope 'admin', which {self.principal.name!r} lacks")
        with self._context.read() as connection:
            return figures(connection)

    def principal_of_access_token(self, digest: str) -> Principal | None:
        """Who comes with an access token, by its digest; None when there is none, ``Unauthenticated`` when it has
        expired."""
        from jupyter_mlops.tracker.embedded.accesstokens import principal_of_token

        return principal_of_token(self._context, digest)

    def outgoing(self) -> Outgoing:
        """The messages to all webhooks, for a service."""
        from jupyter_mlops.tracker.embedded.webhooks import Outgoing

        if self.principal.scope < Scope.ADMIN:
            raise PermissionDenied(f"sending messages needs the scope 'admin', which {self.principal.name!r} lacks")
        return Outgoing(self._store)

    def feed(self) -> Feed:
        """What happens in the store from now on."""
        from jupyter_mlops.tracker.embedded.feed import Feed

        return Feed(self._store)

    @cached_property
    def run_calls(self) -> RunCalls:
        """Writes to runs for :attr:`writer`, for who cannot wait."""
        return RunCalls(self._context)

    @property
    def writer(self) -> GroupCommit[RunCall]:
        """What writes runs, and knows how it does."""
        return self._store.writer

    def close(self) -> None:
        if not self._is_view:
            self._store.close()

    def __enter__(self) -> EmbeddedTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
