"""What the embedded tracker's nouns share: the open store and who is asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from jupyter_mlops.core import access
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import NotFound, Unavailable
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Role
from jupyter_mlops.core.values import LONGEST_KEY, short
from jupyter_mlops.store import runs, shares
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.events import Event
from jupyter_mlops.tracker.embedded.room import Arriving

if TYPE_CHECKING:
    from jupyter_mlops.store import registry
    from jupyter_mlops.store.batches import RunWriter
    from jupyter_mlops.store.blobs import BlobStore
    from jupyter_mlops.store.calls import Caller, RunCall
    from jupyter_mlops.store.groupcommit import GroupCommit


ANSWER_SECONDS = 10.0
"""After so long, what looks through very much answers with what it has done until then: no caller waits for minutes."""


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def run_changed(run_id: str, run: runs.Facts, at: int) -> Event:
    """The event that tells so."""
    return Event("run.changed", run.owner, run_id, at, experiment_id=run.experiment_id)


Members = Callable[[str], "frozenset[str] | None"]
"""Who belongs to the group of that name; None where that is not known."""


class OpenStore:
    """A store that is open in this process: its database, its files, and the one writer of its runs, which all views
    share. ``clock`` gives milliseconds since the epoch."""

    def __init__(self, database: Database, artifacts_url: str, clock: Callable[[], int] = now_ms) -> None:
        self.database = database
        self.artifacts_url = artifacts_url
        self.clock = clock
        self.members: Members = lambda _: None
        self.arriving = Arriving()
        # Two threads that come at once must find the same writer: it alone knows what it has not told yet.
        self._lock = threading.Lock()
        self._blobs: BlobStore | None = None
        self._runs: RunWriter | None = None
        self._writer: GroupCommit[RunCall] | None = None
        self._entered: set[str] = set()

    @contextmanager
    def alone(self, key: str, what: str) -> Iterator[None]:
        """Work that is done once at a time for ``key`` in this process: ``Unavailable`` for who comes meanwhile, which
        says that ``what`` goes on."""
        with self._lock:
            if key in self._entered:
                raise Unavailable(f"{what} goes on; ask again")
            self._entered.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._entered.remove(key)

    @property
    def blobs(self) -> BlobStore:
        if self._blobs is None:
            from jupyter_mlops.store.blobs import BlobStore

            with self._lock:
                self._blobs = self._blobs or BlobStore(self.database, self.artifacts_url, self.clock)
        return self._blobs

    @property
    def writer(self) -> GroupCommit[RunCall]:
        if self._writer is None:
            from jupyter_mlops.store.batches import RunWriter
            from jupyter_mlops.store.groupcommit import GroupCommit

            with self._lock:
                if self._writer is None:
                    self._runs = RunWriter(self.clock)
                    self._writer = GroupCommit(self.database, self._runs.apply, self._runs.due)
        return self._writer

    def close(self) -> None:
        """Write what is queued and let go of the database."""
        if self._runs is not None and self._writer is not None:
            self._runs.end()
            self._writer.close()
        self.database.close()


class Context:
    """Shared by the nouns of one tracker: an open store, as one principal sees it."""

    def __init__(self, store: OpenStore, principal: Principal) -> None:
        self.store = store
        self.principal = principal
        self.database = store.database
        self.clock = store.clock

    @property
    def blobs(self) -> BlobStore:
        return self.store.blobs

    @property
    def writer(self) -> GroupCommit[RunCall]:
        return self.store.writer

    def read(self) -> AbstractContextManager[Connection]:
        return self.database.read()

    def write(self) -> AbstractContextManager[Connection]:
        return self.database.write()

    def require(self, connection: Connection, owner: str, experiment_id: str, scope: Scope, what: str) -> None:
        """Raise ``NotFound`` or ``PermissionDenied`` unless the principal may use ``scope`` on ``what``, which is an
        experiment of ``owner`` or is in it."""
        role = self._role(connection, owner, experiment_id, scope)
        access.require(self.principal, owner, scope, what, role)

    def require_ownership(self, connection: Connection, owner: str, experiment_id: str, what: str) -> None:
        """Raise, as :meth:`require` does, unless the principal may do with ``what`` what only its owner may."""
        role = self._role(connection, owner, experiment_id, Scope.READ)
        access.require_ownership(self.principal, owner, what, role)

    def _role(self, connection: Connection, owner: str, experiment_id: str, scope: Scope) -> Role | None:
        """What the experiment is shared with the principal as, where ownership does not give ``scope``."""
        if self.principal.scope_on(owner) >= scope:
            return None
        return shares.widest_role(connection, experiment_id, access.grantees_of(self.principal))

    def owner_of_new(self, owner: str | None, what: str) -> str:
        """The owner of a thing to be created: the principal's default unless another is asked for, who must be theirs
        to give."""
        chosen = access.default_owner(self.principal) if owner is None else access.owner_name(owner)
        access.require_owner_of_new(self.principal, chosen, what)
        return chosen

    def run_allowed(self, connection: Connection, run_id: str, scope: Scope) -> runs.Facts:
        """What is to be known of a run on which the principal may use ``scope``."""
        found = self._run(connection, run_id)
        self.require(connection, found.owner, found.experiment_id, scope, f"run {run_id}")
        return found

    def run_owned(self, connection: Connection, run_id: str) -> runs.Facts:
        """What is to be known of a run with which the principal may do what only the owner of its experiment may."""
        found = self._run(connection, run_id)
        self.require_ownership(connection, found.owner, found.experiment_id, f"run {run_id}")
        return found

    def _run(self, connection: Connection, run_id: str) -> runs.Facts:
        found = runs.facts(connection, run_id) if is_id(run_id) else None
        if found is None:
            raise NotFound(f"run {run_id if is_id(run_id) else short(run_id)} does not exist")
        return found

    def model_allowed(self, connection: Connection, name: str, scope: Scope, *, lock: bool = False) -> registry.Model:
        """The registered model of that name, on which the principal may use ``scope``; ``lock`` keeps others from
        changing anything of it meanwhile."""
        from jupyter_mlops.store import registry

        what = f"registered model {short(name, LONGEST_KEY)}"
        model = registry.find(connection, name, lock=lock)
        if model is None:
            raise NotFound(f"{what} does not exist")
        access.require_model(self.principal, model.owner, scope, what, restricted=model.restricted)
        return model

    @cached_property
    def reach(self) -> shares.Reach | None:
        """What the principal may find; None for everything."""
        owners = access.owners_reached(self.principal, Scope.READ)
        if owners is None:
            return None
        return shares.Reach(owners, access.grantees_of(self.principal), self.principal.scope >= Scope.READ)

    @cached_property
    def caller(self) -> Caller:
        """The principal, as calls on runs need it."""
        from jupyter_mlops.store.calls import Caller

        def authorize(connection: Connection, owner: str, experiment_id: str, what: str) -> None:
            self.require(connection, owner, experiment_id, Scope.WRITE, what)

        return Caller(self.principal.name, authorize, self.stream_user)

    @property
    def stream_user(self) -> str | None:
        """Who has the streams to themselves that the principal begins; administrators may use all."""
        return None if self.principal.scope >= Scope.ADMIN else self.principal.name

    @property
    def writable_owners(self) -> tuple[str, ...] | None:
        """The owners whose things the principal may change; None for all."""
        return access.owners_reached(self.principal, Scope.WRITE)
