"""Waiting for a store that is away for a while, as a service is that is restarted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jupyter_mlops.core.errors import Unavailable

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""For how long a store that is away is asked again. Meanwhile notebooks go on, and keep what they log."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


def patiently(call: Callable[[], T]) -> T:
    """What ``call`` gives, which may be called more than once; its error when the store stays away for longer than
    :data:`PATIENCE_SECONDS`."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
