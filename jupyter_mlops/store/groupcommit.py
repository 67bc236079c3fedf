"""Group commit: one thread writes what many threads ask for, and many calls share one durable transaction.

Calls that arrive while a transaction commits are applied together in the next one. A caller gets its answer only after
the commit. When a group fails, its halves are applied in transactions of their own, and so on down to single calls, so
that a bad call only hurts itself; a lone call never waits for others.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import Conflict, TrackerClosed, Unavailable
from jupyter_mlops.store.database import Database
from jupyter_mlops.store.failures import met_another

MOST_CALLS = 256
MOST_ROWS = 4000
"""Rows after which a group takes no more calls: some 20 ms of work."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""By how many calls at most a transaction is counted."""
MOST_PATIENCE_S = 0.001
"""How long a group waits at most for those that were answered just now."""
REST_S = 1.0
"""How long after a failure nothing is tried again that no caller waits for."""

logger = logging.getLogger("jupyter_mlops")


class Call:
    """One call to be applied; ``apply`` leaves its answer where the caller finds it."""

    rows: int = 1
    """About how many rows it writes."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """What made it fail."""
        self.done: Callable[[], None] = _nobody_waits

    def finish(self, error: BaseException | None = None) -> None:
        self.error = error
        self.done()


def _nobody_waits() -> None:
    return


C = TypeVar("C", bound=Call)


class GroupCommit(Generic[C]):
    """Applies calls in transactions of its own thread, which starts with the first call.

    Parameters
    ----------
    database
        Where to write.
    apply
        Applies calls in one transaction, all or (by raising) none; it may be called again with some of them. What it
        gives is called once they are durable.
    due
        Seconds until ``apply`` wants to be called although no call came; None for never.
    """

    def __init__(
        self,
        database: Database,
        apply: Callable[[Connection, Sequence[C]], Callable[[], None] | None],
        due: Callable[[], float | None],
    ) -> None:
        self._database = database
        self._apply = apply
        self._due = due
        self._queue: queue.SimpleQueue[C | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._answered = 0
        self._patience = 0.0
        self._rests_until = 0.0
        self.committed = 0
        """Calls that were committed."""
        self.commits = 0
        """Transactions that committed them."""
        self.sizes = [0] * len(SIZES)
        """The same by how many calls they had: one of ``n`` is counted where :data:`SIZES` first has ``n`` or more."""

    def submit(self, call: C) -> None:
        """Apply ``call`` and return once it is durable; raises what made it fail."""
        waiting = threading.Lock()
        waiting.acquire()
        self.enqueue(call, waiting.release)
        waiting.acquire()
        if call.error is not None:
            raise call.error

    def enqueue(self, call: C, done: Callable[[], None]) -> None:
        """Apply ``call`` soon; ``done`` is called in the writer's thread once it is durable or has failed.

        ``Unavailable`` when the system has no thread to spare, ``TrackerClosed`` after :meth:`close`.
        """
        self._database.check_usable()
        call.done = done
        with self._lock:
            if self._closed:
                raise TrackerClosed(f"{self._database.url} was closed; open it again with connect()")
            if self._thread is None:
                self._begin()
            self._database.begin_commit()
            self._queue.put(call)

    @property
    def waiting(self) -> int:
        """Calls that no transaction has taken yet."""
        return self._queue.qsize()

    def close(self) -> None:
        """Write what was submitted, and end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="mlops-group-commit", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            # Else the next call would wait for a thread that never began.
            self._thread = None
            raise Unavailable(f"{self._database.url} cannot be written to now: {error}") from error

    def _run(self) -> None:
        ended = False
        while not ended:
            calls, ended = self._next_group()
            if calls or self._due() is not None:
                self._commit(calls)

    def _next_group(self) -> tuple[list[C], bool]:
        """The calls of the next transaction (none when ``apply`` is due for itself), and whether they are the last."""
        # Who was answered just now will call again, soon enough to share a transaction with those that wait already.
        expected = self._queue.qsize() + self._answered if self._queue.qsize() else 0
        try:
            call = self._queue.get(timeout=self._seconds_until_due())
        except queue.Empty:
            return [], False
        until = time.monotonic() + self._patience
        calls: list[C] = []
        rows = 0
        while call is not None:
            calls.append(call)
            rows += call.rows
            if len(calls) >= MOST_CALLS or rows >= MOST_ROWS:
                return calls, False
            try:
                call = self._queue.get(timeout=max(0.0, until - time.monotonic() if len(calls) < expected else 0.0))
            except queue.Empty:
                return calls, False
        return calls, True

    def _seconds_until_due(self) -> float | None:
        due = self._due()
        return None if due is None else max(due, self._rests_until - time.monotonic(), 0.0)

    def _commit(self, calls: list[C]) -> None:
        began = time.monotonic()
        try:
            self._attempt(calls)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers
            if not calls:
                logger.warning("what no caller waits for cannot be written, and is tried again: %s", error)
                self._rests_until = time.monotonic() + REST_S
                return
            if isinstance(error, Unavailable):
                for call in calls:
                    # An error of its own for each thread that raises it.
                    of_call = Unavailable(error.message)
                    of_call.public = error.public
                    call.finish(of_call)
                return
            if len(calls) == 1:
                calls[0].finish(error)
                return
            # In halves: of many calls, one that fails again and again costs the others little.
            half = len(calls) // 2
            self._commit(calls[:half])
            self._commit(calls[half:])
        else:
            self.commits += 1
            self.committed += len(calls)
            if calls:
                self.sizes[(len(calls) - 1).bit_length()] += 1
            self._answered = len(calls)
            self._patience = min(MOST_PATIENCE_S, (time.monotonic() - began) / 2)
            for call in calls:
                call.finish()

    def _attempt(self, calls: list[C]) -> None:
        try:
            self._once(calls)
        except (Unavailable, Conflict) as error:
            if self._database.is_sqlite or not (isinstance(error, Unavailable) or met_another(error)):
                raise
            # A connection that was lost, perhaps in the commit, or a deadlock; or another process has just inserted the
            # same, such as a run that its client asks both for, and is found now. Doing it again is harmless: positions
            # in streams are known, a run is created once, an item is in its list once, and a point that is stored twice
            # is read once.
            self._once(calls)

    def _once(self, calls: list[C]) -> None:
        with self._database.write() as connection:
            note = self._apply(connection, calls)
        if note is not None:
            note()
