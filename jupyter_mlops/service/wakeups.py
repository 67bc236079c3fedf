"""From another thread to the event loop: however many answers are ready, the loop is woken once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

Waiting = asyncio.Future[None]


class Wakeups:
    """Futures of one event loop that other threads complete."""

    def __init__(self) -> None:
        self._ready: deque[Waiting] = deque()
        self._called = False

    def expect(self) -> tuple[Waiting, Callable[[], None]]:
        """A future of the running loop, and what completes it when another thread calls it."""
        loop = asyncio.get_running_loop()
        waiting: Waiting = loop.create_future()
        return waiting, partial(self._complete, loop, waiting)

    def _complete(self, loop: asyncio.AbstractEventLoop, waiting: Waiting) -> None:
        self._ready.append(waiting)
        # The loop lowers the flag before it looks: what was added while it is up will be seen.
        if not self._called:
            self._called = True
            try:
                loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The loop is closed, so that nobody waits.
                self._called = False

    def _wake(self) -> None:
        self._called = False
        while self._ready:
            waiting = self._ready.popleft()
            if not waiting.done():
                waiting.set_result(None)
