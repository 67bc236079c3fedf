"""Fair turns for the writers of one SQLite file, across threads and processes.

SQLite lets writers poll for its lock with growing pauses, so that a busy writer starves the others. Here each writer
first becomes *next in line* and only then waits for the one who writes; whoever has just written finds the place of the
next taken and queues up. The locks are advisory ranges of a small file beside the database, freed by the operating
system when a process dies, and not inherited by a fork. SQLite's own lock still decides: without the file, or beside a
program that does not know it, nothing is lost but fairness.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_mlops.core.errors import Unavailable

_NEXT, _WRITING = 0, 1
_TAKEN = (errno.EACCES, errno.EAGAIN)


class Turnstile:
    """One per open database file. ``patience`` is the longest wait in seconds."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._next = threading.Lock()
        self._writing = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn to write. Raises ``Unavailable`` when it does not come in time."""
        deadline = time.monotonic() + self._patience
        self._enter_process(deadline)
        try:
            locked = self._enter_file(deadline)
            try:
                yield
            finally:
                if locked:
                    self._unlock(_WRITING)
        finally:
            self._writing.release()

    def close(self) -> None:
        # A turn that Ctrl-C has ended in the middle of its beginning is never given back.
        if self._writing.acquire(timeout=self._patience):
            try:
                if self._file is not None:
                    os.close(self._file)
                    self._file = None
            finally:
                self._writing.release()

    def _enter_process(self, deadline: float) -> None:
        if not self._next.acquire(timeout=self._patience):
            raise self._too_long()
        try:
            if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise self._too_long()
        finally:
            self._next.release()

    def _enter_file(self, deadline: float) -> bool:
        """Whether the file's lock is held; not where the file system has no locks."""
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._lock(_NEXT, deadline)
        except OSError:
            return False
        try:
            self._lock(_WRITING, deadline)
        finally:
            self._unlock(_NEXT)
        return True

    def _lock(self, which: int, deadline: float) -> None:
        assert self._file is not None
        pause = 0.0002
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, which)
                return
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            if time.monotonic() > deadline:
                raise self._too_long()
            time.sleep(pause)
            pause = min(0.002, pause * 1.5)

    def _unlock(self, which: int) -> None:
        assert self._file is not None
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, which)

    def _too_long(self) -> Unavailable:
        return Unavailable(f"others have been writing to {self._path.parent} for {self._patience:.0f} s; try again")
