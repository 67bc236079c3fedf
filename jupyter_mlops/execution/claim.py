"""Who may drive a sweep: one process at a time, as long as it lives."""

from __future__ import annotations

import fcntl
import os

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.records import Run
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker.location import home, make_private

_FILE = "sweeps.lock"


class Claim:
    """A lock that the operating system lets go when the process ends, however it ends. All sweeps are locked in one
    file, each at a byte of its own, so that no files are left; it holds for all that share the home folder."""

    def __init__(self, run: Run) -> None:
        """``Conflict`` when another process has it."""
        make_private(home())
        self._fd = os.open(home() / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The last 48 bits of an id are random; offsets have 63.
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(run.run_id[-12:], 16))
        except (BlockingIOError, PermissionError):
            os.close(self._fd)
            owner = RunFolder(run.run_id).owner
            who = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
            raise Conflict(
                f"the sweep {run.name} is being run by {who}; it can be resumed when that has ended"
            ) from None

    def release(self) -> None:
        os.close(self._fd)
