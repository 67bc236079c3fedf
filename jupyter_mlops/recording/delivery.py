"""Delivery: what this process logs, on its way from the spool to the tracker.

Logging never waits: an entry is in the spool when the call returns. In a live session (no runner reads the spool) a
thread of this process replays it every second.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from jupyter_mlops.core.errors import InvalidValue, MissingDependency, MLOpsError, QuotaExceeded, StorageFull
from jupyter_mlops.core.warn import warn_caller
from jupyter_mlops.recording.heartbeat import HEARTBEAT_SECONDS
from jupyter_mlops.tracker import location
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import Replayer, is_refusal
from jupyter_mlops.tracker.spool import DEFAULT_MAX_BYTES, SpoolWriter
from jupyter_mlops.tracker.spoolfile import Entry, target_of

_PERIOD_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class StorageWarning(UserWarning):
    """What was logged could not be stored (yet), or was refused."""


class Delivery:
    """The way of this process's entries to one tracker. Any thread may call; a forked child may go on using it.

    Parameters
    ----------
    url
        The tracker's URL; None for what :func:`jupyter_mlops.tracker.connect.connect` picks.
    folder
        A spool folder that a runner replays; None in a live session, which has its spool below the home folder and
        replays it itself.
    strict
        Raise storage failures instead of warning of them.
    max_bytes
        What may wait to be stored; see :class:`~jupyter_mlops.tracker.spool.SpoolWriter`.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        folder: Path | None = None,
        strict: bool = False,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self.url = url or location.default_url()
        self.live = folder is None
        self.strict = strict
        self.folder = folder or location.home() / "spool"
        self._writer = SpoolWriter(self.folder, target=target_of(self.url) if self.live else "", max_bytes=max_bytes)
        self._parent: int | None = None
        self._inherited: list[object] = []
        self._tracker: Tracker | None = None
        self._beating: set[str] = set()
        self._reset()
        _deliveries.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        """Of the tracker, which may take long: who logs does not wait for it."""
        self._replayer = Replayer(self.folder, session=self._writer.session if self.live else None)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._has_children = False
        self._changed = threading.Event()
        self._at_once = threading.Event()
        self._warned = False
        self._location_checked = False
        self._failure: Exception | None = None
        self._beaten_at = 0.0

    def _after_fork_in_child(self) -> None:
        # Its connections are the parent's: never used here, and never closed by being forgotten either.
        self._inherited.append(self._tracker)
        self._tracker = None
        self._parent = os.getppid()
        self._beating = set()
        self._reset()

    def _after_fork_in_parent(self) -> None:
        self._has_children = True
        self._changed.set()

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Keep one entry. A storage failure warns once, or raises in strict mode."""
        try:
            self._writer.append(entry)
        except MLOpsError as error:
            self.trouble(error)
        self._noticed()

    def put_file(self, run_id: str, path: str, write: Callable[[Path], object]) -> None:
        """Keep a file to be stored under ``path`` of a run; ``write`` writes it, given its place. Errors as in
        :meth:`append`."""
        try:
            self._writer.put_file(run_id, path, write)
        except MLOpsError as error:
            if is_refusal(error):  # what ``write`` cannot write is its caller's mistake
                raise
            self.trouble(error)
        self._noticed()

    def _noticed(self) -> None:
        if self._failure is not None and self.strict:
            failure, self._failure = self._failure, None
            raise failure
        if self.live:
            if not self._changed.is_set():
                self._changed.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._deliver_forever, name="mlops-delivery", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the system has no thread to spare: the next entry tries again
                    self._thread = None

    # --- delivering --------------------------------------------------------------------------------------------------

    @property
    def tracker(self) -> Tracker:
        """The tracker, opened when first asked for; raises when it cannot be."""
        if self._tracker is None:
            with self._opening:
                if self._tracker is None:
                    from jupyter_mlops.tracker.connect import connect

                    self._tracker = connect(self.url)
        return self._tracker

    def deliver(self) -> None:
        """Store all that was logged until now. A storage failure warns once, or raises in strict mode."""
        try:
            self._deliver()
        except (MLOpsError, OSError) as error:
            self.trouble(error)

    def nudge(self) -> None:
        """Have the background thread deliver now instead of within a second."""
        if self._thread is not None:
            self._at_once.set()

    def beat(self, run_id: str) -> None:
        """Send heartbeats for a run from now on."""
        self._beating.add(run_id)
        self._noticed()

    def stop_beating(self, run_id: str) -> None:
        self._beating.discard(run_id)

    def close(self) -> None:
        """Deliver what can be delivered and end. What could not is kept in the spool, and the next one to replay it
        stores it."""
        with self._lock:
            self._stopping = True
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._changed.set()
            self._at_once.set()
            thread.join()
        wrote = bool(self._writer.stream)
        try:
            self._writer.close()
            if self.live and wrote and not self._parent_delivers():
                self._deliver()
                self._writer.losses.remove_own()
        except (MLOpsError, OSError) as error:
            self.trouble(error)
        finally:
            tracker, self._tracker = self._tracker, None
            if tracker is not None:
                tracker.close()

    def trouble(self, error: Exception) -> None:
        """Tell of a storage failure: raise it in strict mode, else warn of the first one until things work again."""
        if self.strict:
            raise error
        if not self._warned:
            self._warned = True
            if isinstance(error, StorageFull):
                then = "what finds no room is lost, and counted in the run's tag mlops.dropped"
            else:
                then = f"what is logged is kept in {self.folder} and stored later"
            warn_caller(f"{error} ({then}; further failures are not shown)", StorageWarning)

    def _deliver(self) -> None:
        tracker = self.tracker
        if self.live and not self._location_checked:
            self._location_checked = True
            self._check_location(tracker)
        result = self._replayer.run(tracker)
        self._warned = False
        if result.refused:
            warn_caller(
                f"{result.refused} of the logged entries were refused: {result.refusal}; see the files *.dead in "
                f"{self.folder}",
                StorageWarning,
            )

    def _check_location(self, tracker: Tracker) -> None:
        """Say at the start what else would show when the first file is stored, perhaps hours later."""
        try:
            tracker.artifacts.check_location()
        except (MissingDependency, InvalidValue) as error:
            if self.strict:
                raise
            warn_caller(error.message, StorageWarning)

    def _deliver_and_beat(self) -> None:
        try:
            self._deliver()
        except QuotaExceeded:
            # What was logged waits for room; its runs are to be heard of all the same.
            self._send_heartbeats()
            raise
        self._send_heartbeats()

    def _parent_delivers(self) -> bool:
        """Whether this is a forked child of a process that still lives, which replays its children's streams, too."""
        return self._parent is not None and os.getppid() == self._parent

    def _deliver_forever(self) -> None:
        pause = _PERIOD_SECONDS
        while not self._stopping:
            self._changed.wait(timeout=self._idle_seconds())
            # A second's entries are stored together.
            self._at_once.wait(timeout=pause)
            self._at_once.clear()
            self._changed.clear()
            if self._stopping or self._parent_delivers():
                continue
            try:
                self._deliver_and_beat()
                pause = _PERIOD_SECONDS
            except Exception as error:  # noqa: BLE001 - whatever fails here must not end the delivery
                self._background_failure(error)
                self._changed.set()
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _idle_seconds(self) -> float | None:
        if self._has_children or self._parent is not None:
            return _PERIOD_SECONDS
        return HEARTBEAT_SECONDS if self._beating else None

    def _background_failure(self, error: Exception) -> None:
        if self.strict:
            self._failure = error
        else:
            # Warnings may be made errors, or be shown by what fails: the delivery goes on.
            with contextlib.suppress(Exception):
                self.trouble(error)

    def _send_heartbeats(self) -> None:
        now = time.monotonic()
        if now - self._beaten_at >= HEARTBEAT_SECONDS:
            self._beaten_at = now
            for run_id in list(self._beating):
                try:
                    self.tracker.runs.heartbeat(run_id)
                except MLOpsError as error:
                    # Of one that somebody deleted, the others know nothing.
                    if not is_refusal(error):
                        raise


_deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for delivery in list(_deliveries):
        delivery._after_fork_in_child()


def _after_fork_in_parent() -> None:
    for delivery in list(_deliveries):
        delivery._after_fork_in_parent()


os.register_at_fork(after_in_child=_after_fork_in_child, after_in_parent=_after_fork_in_parent)
