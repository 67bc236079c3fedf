"""What found no room: how many values and files of each run were lost, counted where even a full disk has room.

A file ``<session>.losses`` beside the spools is made, in its full size, while there is room, and then written in place.
The processes of a session count in the same file: a process and the children it forked; in a run's own folder, where
its runner makes ``run.losses``, all that log there. :mod:`jupyter_mlops.tracker.replay` tells the runs what it says.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Runner
from jupyter_mlops.tracker.filelock import locked
from jupyter_mlops.tracker.process import this_runner

SUFFIX = ".losses"
OF_A_RUN = f"run{SUFFIX}"
_HEAD_BYTES = 1024
_LENGTH = struct.Struct("<I")
_SLOT = struct.Struct("<32sQ")
_SLOTS = 64
"""Runs that are counted apart. What more runs lose is counted with the last."""
BYTES = _HEAD_BYTES + _SLOTS * _SLOT.size
"""What such a file has."""
_PATIENCE_SECONDS = 1.0
"""How long others are waited for who count, which takes them microseconds: who logs waits too."""


class Losses(msgspec.Struct, frozen=True):
    """What such a file says."""

    target: str
    """As in a spool's header."""
    writer: Runner
    """The process that made it."""
    counts: dict[str, int] = {}
    """By run."""


class _Head(msgspec.Struct, frozen=True):
    target: str
    writer: Runner


def nothing_lost(target: str) -> bytes:
    """What such a file begins with, made by this process."""
    head = msgspec.msgpack.encode(_Head(target, this_runner()))
    return (_LENGTH.pack(len(head)) + head).ljust(BYTES, b"\0")


class LossCounter:
    """Counts losses in a file. Any thread may call, and any number of processes count in the same file."""

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        self._target = target

    def reserve(self) -> None:
        """Make the file unless there is one; ``OSError`` when it cannot be."""
        content = nothing_lost(self._target)
        # Visible only when whole: who finds it takes it for made.
        partial = self.path.with_name(f"{self.path.name}.{new_id()}.tmp")
        try:
            if not self.path.exists():
                partial.write_bytes(content)
                os.link(partial, self.path)
        except FileExistsError:
            pass
        finally:
            partial.unlink(missing_ok=True)

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to what is counted; ``OSError`` when it cannot be noted."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            self.reserve()
            fd = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            # By a descriptor of its own each time, as a lock is not held against others that share it.
            with locked(fd, _PATIENCE_SECONDS):
                table = _counts(os.pread(fd, BYTES, 0))
                for run_id, count in counts.items():
                    slot = run_id if run_id in table or len(table) < _SLOTS else next(reversed(table))
                    table[slot] = max(0, table.get(slot, 0) + count)
                slots = b"".join(_SLOT.pack(run_id.encode(), count) for run_id, count in table.items())
                os.pwrite(fd, slots, _HEAD_BYTES)
        finally:
            os.close(fd)

    def remove_own(self) -> None:
        """Remove the file if this process made it; others that still need one make their own."""
        found = read_losses(self.path)
        if found is not None and found.writer.pid == os.getpid():
            self.path.unlink(missing_ok=True)


def read_losses(path: Path) -> Losses | None:
    """What the file says; None when it is gone, or none that this package wrote."""
    with contextlib.suppress(OSError, struct.error, msgspec.DecodeError, UnicodeDecodeError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            content = os.pread(fd, BYTES, 0)
        finally:
            os.close(fd)
        (length,) = _LENGTH.unpack_from(content)
        head = msgspec.msgpack.decode(content[_LENGTH.size : _LENGTH.size + length], type=_Head)
        return Losses(head.target, head.writer, _counts(content))
    return None


def _counts(content: bytes) -> dict[str, int]:
    if not content[_HEAD_BYTES:].strip(b"\0"):
        # As nearly always.
        return {}
    whole = content[_HEAD_BYTES : _HEAD_BYTES + (len(content) - _HEAD_BYTES) // _SLOT.size * _SLOT.size]
    return {run_id.decode(): count for run_id, count in _SLOT.iter_unpack(whole) if run_id.strip(b"\0")}
