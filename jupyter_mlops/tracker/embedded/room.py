"""Room for bytes on their way in: looked for before they are taken, so that what will find none is told early.

What is stored is counted by the database. What is still on its way is counted here, by this process alone: else many
who send at once would each find the same room, and fill the artifact location until they are refused at their ends. So
each service of a store may be sent, for a while, as much as an owner has room for.
"""

from __future__ import annotations

import threading
from collections import Counter

from jupyter_mlops.core.quotas import Quota, require_file


class Arriving:
    """How many bytes are on their way to what belongs to owners who have a quota. Thread-safe."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, owner: str, more: int) -> int:
        """How many there are with ``more`` of them, which may be less than 0."""
        with self._lock:
            self._bytes[owner] += more
            now = self._bytes[owner]
            if not now:
                del self._bytes[owner]
            return now


class Room:
    """For what is sent to a run of ``owner``.

    Parameters
    ----------
    used
        Bytes that count for the owner already, without those of what is replaced.
    """

    def __init__(self, arriving: Arriving, owner: str, quota: Quota, used: int) -> None:
        self._arriving = arriving
        self._owner = owner
        self._quota = quota
        self._used = used
        self._held = 0

    @property
    def limited(self) -> bool:
        """Whether the owner may have so many bytes and no more."""
        return self._quota.bytes is not None

    def take(self, needed: int, file: int) -> None:
        """There are to be ``needed`` bytes more than count already, of a file that has ``file`` bytes then.
        ``TooLarge`` or ``QuotaExceeded`` when there is no room for them."""
        if self._quota.bytes is None and self._quota.file_bytes is None:
            return
        more = max(needed - self._held, 0)
        self._held += more
        others = self._arriving.add(self._owner, more) - self._held
        require_file(self._owner, self._quota, self._used + others, file, self._held)

    def close(self) -> None:
        """They are all there, and counted when they are kept; or they will not be."""
        held, self._held = self._held, 0
        if held:
            self._arriving.add(self._owner, -held)
