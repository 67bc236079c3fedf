"""What the embedded tracker's nouns share: the open store and who is asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope, require
from jupyter_mlops.core.errors import NotFound, PermissionDenied
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Lifecycle
from jupyter_mlops.core.values import owner_name, short
from jupyter_mlops.store import runs
from jupyter_mlops.store.database import Database

if TYPE_CHECKING:
    from jupyter_mlops.store.blobs import BlobStore
    from jupyter_mlops.store.calls import RunCall
    from jupyter_mlops.store.groupcommit import GroupCommit


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class OpenStore:
    """A store that is open in this process: its database, its files, and the one writer of its runs, which all views
    share. ``clock`` gives milliseconds since the epoch."""

    def __init__(self, database: Database, artifacts_url: str, clock: Callable[[], int] = now_ms) -> None:
        self.database = database
        self.artifacts_url = artifacts_url
        self.clock = clock
        # Two threads that come at once must find the same writer: it alone knows what it has not told yet.
        self._lock = threading.Lock()
        self._blobs: BlobStore | None = None
        self._writer: GroupCommit[RunCall] | None = None

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
                    runs = RunWriter(self.clock)
                    self._writer = GroupCommit(self.database, runs.apply, runs.due)
        return self._writer

    def close(self) -> None:
        """Write what is queued and let go of the database."""
        if self._writer is not None:
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

    def require(self, owner: str, scope: Scope, what: str) -> None:
        """Raise ``NotFound`` or ``PermissionDenied`` unless the principal may use ``scope`` on a thing of ``owner``."""
        require(self.principal, owner, scope, what)

    def owner_of_new(self, owner: str | None, what: str) -> str:
        """The owner of a thing to be created: the principal unless another is asked for, who must be theirs to give."""
        chosen = self.principal.name if owner is None else owner_name(owner)
        if self.principal.scope < Scope.WRITE or not (
            self.principal.scope >= Scope.ADMIN or self.principal.owns(chosen)
        ):
            raise PermissionDenied(f"{what}: {self.principal.name!r} may not create things of {chosen!r}")
        return chosen

    def run_allowed(self, connection: Connection, run_id: str, scope: Scope) -> tuple[str, Lifecycle]:
        """The owner and the lifecycle of a run on which the principal may use ``scope``."""
        found = runs.owner_and_lifecycle(connection, run_id) if is_id(run_id) else None
        what = f"run {run_id if is_id(run_id) else short(run_id)}"
        if found is None:
            raise NotFound(f"{what} does not exist")
        self.require(found[0], scope, what)
        return found

    @property
    def owners(self) -> tuple[str, ...] | None:
        """The owners whose things the principal may see; None for all."""
        if self.principal.scope >= Scope.ADMIN:
            return None
        if self.principal.scope < Scope.READ:
            return ()
        return (self.principal.name, *(GROUP_PREFIX + group for group in sorted(self.principal.groups)))
