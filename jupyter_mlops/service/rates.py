"""How many requests a caller may make: a bucket of tokens each, which fills up again as time passes."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

BURST_SECONDS = 10.0
"""A caller who was silent for so long may ask at once for what this time is worth."""
_MOST_CALLERS = 10_000
"""Whom to remember; those of whom nothing is to be remembered are forgotten first."""


class _Bucket(msgspec.Struct):
    tokens: float
    at: float


class Rates:
    """The rates of one service; used by its event loop alone.

    Parameters
    ----------
    per_second
        Requests that each caller may make in a second, on average; 0 for any number.
    clock
        Seconds that only grow.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._size = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, caller: str) -> float:
        """Count a request; 0 when it may be answered, else it does not count, and this gives after how many seconds it
        may be made again."""
        if not self.per_second:
            return 0.0
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._forget_some(now)
            bucket = self._buckets[caller] = _Bucket(self._size, now)
        bucket.tokens = self._tokens(bucket, now)
        bucket.at = now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self.per_second
        bucket.tokens -= 1.0
        return 0.0

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(self._size, bucket.tokens + (now - bucket.at) * self.per_second)

    def _forget_some(self, now: float) -> None:
        if len(self._buckets) >= _MOST_CALLERS:
            kept = {name: each for name, each in self._buckets.items() if self._tokens(each, now) < self._size}
            # Whoever asks this often under so many names has to start with an empty memory of us.
            self._buckets = kept if len(kept) < _MOST_CALLERS else {}
