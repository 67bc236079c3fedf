"""The queue of submitted runs, as several servers of one user share it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.execution import queue as queue_module
from jupyter_mlops.execution.queue import Queue
from jupyter_mlops.tracker.protocol import Tracker


def test_a_server_that_was_stopped_in_its_turn_holds_up_no_other(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(tmp_path / "jobs", limit=1, environment=lambda: dict(os.environ))
    queue.step(tracker)
    monkeypatch.setattr(queue_module, "_PATIENCE_SECONDS", 0.1)
    with (tmp_path / "jobs" / "lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match=r"another process has been busy with it for 0\.1 s"):
            queue.step(tracker)
    queue.step(tracker)
