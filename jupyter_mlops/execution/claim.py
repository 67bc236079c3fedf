"""Who may drive a sweep: one at a time, as long as its process lives."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.records import Run
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker.location import home, make_private

_FILE = "sweeps.lock"


class _Locks:
    """Bytes of a file that this process has locked. The system's locks are the process's: it would grant one twice, and
    lets all go when any descriptor of the file is closed."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._held: set[int] = set()

    def take(self, place: int) -> bool:
        """Whether the byte was free."""
        if place in self._held:
            return False
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        self._held.add(place)
        return True

    def give(self, place: int) -> None:
        self._held.remove(place)
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, place)

    def close(self) -> bool:
        """Whether none is held, so that the file was closed."""
        if not self._held:
            os.close(self._fd)
        return not self._held


_locks: dict[Path, _Locks] = {}
"""Of this process, for the locks are."""
_guard = threading.Lock()


class Claim:
    """A lock that the operating system lets go when the process ends, however it ends. All sweeps are locked in one
    file, each at a byte of its own, so that no files are left; it holds for all that share the home folder."""

    def __init__(self, run: Run) -> None:
        """``Conflict`` when somebody has it."""
        make_private(home())
        self._path = home() / _FILE
        # The last 48 bits of an id are random; offsets have 63.
        self._place = int(run.run_id[-12:], 16)
        with _guard:
            if self._path not in _locks:
                _locks[self._path] = _Locks(self._path)
            if _locks[self._path].take(self._place):
                return
            self._tidy()
        owner = RunFolder(run.run_id).owner
        who = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
        raise Conflict(f"the sweep {run.name} is being run by {who}; it can be resumed when that has ended")

    def release(self) -> None:
        with _guard:
            _locks[self._path].give(self._place)
            self._tidy()

    def _tidy(self) -> None:
        if _locks[self._path].close():
            del _locks[self._path]
