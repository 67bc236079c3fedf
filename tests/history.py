"""A metric's whole history."""

from __future__ import annotations

from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.remote import RemoteTracker


def points(tracker: Tracker | RemoteTracker, run_id: str, key: str) -> list[tuple[int, float]]:
    """The steps and values of a metric, in order."""
    found: list[tuple[int, float]] = []
    token = None
    while True:
        page = tracker.runs.history(run_id, key, page_token=token)
        found += [(point.step, point.value) for point in page.items]
        token = page.next_page_token
        if not token:
            return found
