"""Signs of life of what drives a run, for those who cannot look for its process: they are on another host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.tracker.protocol import Tracker

HEARTBEAT_SECONDS = 15.0
"""Between two signs of life."""
SILENT_SECONDS = 60.0
"""A run that was silent for longer, on another host, is taken for one that nobody drives."""


@contextmanager
def beating(tracker: Tracker, run_id: str) -> Iterator[None]:
    """Send heartbeats for a run while the block lasts, the first at once."""
    over = threading.Event()

    def beat() -> None:
        while True:
            with suppress(MLOpsError):  # a store that is away for a while ends nothing
                tracker.runs.heartbeat(run_id)
            if over.wait(HEARTBEAT_SECONDS):
                return

    thread = threading.Thread(target=beat, name="mlops-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
