"""What the server does by itself, each second: it sees to submitted runs, to what killed processes left, and tells the
idle culler that work is being done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.execution.queue import Queue
from jupyter_mlops.recording.lost import recover
from jupyter_mlops.server.store import LazyTracker
from jupyter_mlops.tracker.location import home

logger = logging.getLogger("jupyter_mlops.server")

ROUND_SECONDS = 1.0
RECOVER_SECONDS = 10.0
ACTIVITY = "jupyter_mlops"
"""What the server's record of activities calls ours."""


class Keeper:
    """Keeps a queue going while the server lives.

    Parameters
    ----------
    tracker
        Opened only when there is something to do.
    queue
        What is kept going.
    executor
        Where waiting is allowed.
    activities
        The server's times of last activity, by what was active.
    activity_limit
        How long a run counts as activity, in seconds from its start.
    """

    def __init__(
        self,
        tracker: LazyTracker,
        queue: Queue,
        executor: Executor,
        activities: MutableMapping[str, datetime],
        activity_limit: float,
    ) -> None:
        self._tracker = tracker
        self._queue = queue
        self._executor = executor
        self._activities = activities
        self._activity_limit = activity_limit
        self._wake = asyncio.Event()
        self._recovered = float("-inf")
        self._complaint = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def wake(self) -> None:
        """There is something new; do not wait for the next round."""
        self._wake.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        while True:
            try:
                await self._round()
                self._complaint = ""
            except MLOpsError as error:
                # A store that is away for hours is worth one line.
                if error.message != self._complaint:
                    self._complaint = error.message
                    logger.warning("submitted runs wait: %s", error.message)
            except Exception:
                logger.exception("a round of looking after submitted runs failed")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), ROUND_SECONDS)
            self._wake.clear()

    async def _round(self) -> None:
        active, recovering = await self._wait(self._look)
        if active:
            self._activities[ACTIVITY] = datetime.now(timezone.utc)
        if self._tracker.is_open or recovering or not await self._wait(lambda: self._queue.is_idle):
            tracker = await self._tracker.opened()
            await self._wait(lambda: self._queue.step(tracker))
            if recovering:
                self._recovered = time.monotonic()
                await self._wait(lambda: recover(tracker, but=self._queue.unfinished()))

    def _look(self) -> tuple[bool, bool]:
        """Whether runs count as activity now, and whether there may be something to recover."""
        oldest = time.time() - self._activity_limit
        active = any(since / 1000 > oldest for since in self._queue.working_since())
        due = time.monotonic() - self._recovered >= RECOVER_SECONDS
        return active, due and any(next((home() / name).glob("*"), None) is not None for name in ("runs", "spool"))

    async def _wait(self, function: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)
