"""The tracker behind the extension, opened when it is first needed: a server starts as fast as without it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any

from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.protocol import Tracker

SETTING = "jupyter_mlops_tracker"
"""Under which the server's application has its :class:`LazyTracker`."""


class LazyTracker:
    """A tracker that stands in for the one at ``url``, which is opened by the first to await :meth:`opened`.

    Parameters
    ----------
    url
        As :func:`jupyter_mlops.tracker.connect.connect` takes it.
    executor
        Where it is opened, since that may wait for a database.
    """

    def __init__(self, url: str, executor: Executor) -> None:
        self._url = url
        self._executor = executor
        self._tracker: Tracker | None = None
        self._opening = asyncio.Lock()

    async def opened(self) -> Tracker:
        """The tracker itself; errors are those of ``connect``, and the next caller tries again."""
        if self._tracker is None:
            async with self._opening:
                if self._tracker is None:
                    loop = asyncio.get_running_loop()
                    self._tracker = await loop.run_in_executor(self._executor, connect, self._url)
        return self._tracker

    @property
    def is_open(self) -> bool:
        return self._tracker is not None

    def close(self) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.close()

    def __getattr__(self, name: str) -> Any:
        if self._tracker is None:
            raise Unavailable("the store is not open yet")
        return getattr(self._tracker, name)
