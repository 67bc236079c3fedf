"""A file's lock, held by one process at a time: the operating system lets go of it when the process dies."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


@contextmanager
def locked(file: int, seconds: float) -> Iterator[None]:
    """Hold the lock of an open file while the block lasts.

    ``TimeoutError`` when others have held it for so many ``seconds``: a process that was stopped might never go on.
    """
    deadline, pause = time.monotonic() + seconds, _SHORTEST_PAUSE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                reason = f"another process has been busy with it for {seconds:g} s"
                raise TimeoutError(errno.ETIMEDOUT, reason) from None
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    try:
        yield
    finally:
        # By closing alone it would stay locked where a child was forked meanwhile, which has the descriptor too.
        fcntl.flock(file, fcntl.LOCK_UN)
