"""The spool: what a process logs, in append-only files that survive it.

A file ``<folder>/<stream>.spool`` is one numbered stream. It begins with a magic line and a header; then come frames:
length and CRC-32 (little-endian, 32 bits each), then the MessagePack of one entry. An entry's number in the stream is
its ordinal, from 1. Each entry is written by one ``write()`` before the logging call returns, so that it survives the
death of the process, and reaches the disk within a second, so that nearly all survives the death of the machine.

A process writes to one stream at a time and goes on to a new one when a file has grown large, so that what was applied
can be removed while it still runs. Files to be stored as artifacts are copied beside the spool, as
``<stream>.<id>.file``; small ones may be part of their entry. :mod:`jupyter_mlops.tracker.replay` applies streams to a
tracker.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from jupyter_mlops.core.errors import NO_ROOM, MLOpsError, StorageFull, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.tracker import losses
from jupyter_mlops.tracker.location import make_private
from jupyter_mlops.tracker.losses import LossCounter
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.spoolfile import (
    MAGIC,
    STAGED_SUFFIX,
    SUFFIX,
    VERSION,
    Closed,
    Entry,
    Header,
    Log,
    PutArtifact,
    frame,
)

DEFAULT_MAX_BYTES = 4 << 30
_SEGMENT_BYTES = 8 << 20
_SYNC_SECONDS = 1.0

_encoder = msgspec.msgpack.Encoder()


class SpoolWriter:
    """The writing end of this process's streams in one folder.

    Any thread may call. A forked child may go on using the object: it then writes to a stream of its own.

    Parameters
    ----------
    folder
        Where the spools are; created when first needed.
    target
        What tracker it is for (:func:`target_of`), when the folder is shared with other trackers' spools.
    session
        Names the process in its headers; made up when absent.
    max_bytes
        What may wait in the folder to be applied, staged files included. Beyond it, logged values and files are dropped
        and counted (:mod:`jupyter_mlops.tracker.losses`) until there is room again; the number is recorded with the run
        as the tag ``mlops.dropped``. That runs begin and end is recorded still.
    segment_bytes
        The size of a file from which on a new stream is begun.

    Raises
    ------
    StorageFull
        By each call that had to drop what it was given.
    Unavailable
        By each call when the file cannot be written for another reason.
    """

    def __init__(
        self,
        folder: Path,
        *,
        target: str = "",
        session: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        segment_bytes: int = _SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.session = session or new_id()
        self._target = target
        self._max_bytes = max_bytes
        # Only whole files are removed: the one being written must not fill the room by itself.
        self._segment_bytes = min(segment_bytes, max_bytes // 4)
        self.losses = LossCounter(folder / (f"{self.session}{losses.SUFFIX}" if target else losses.OF_A_RUN), target)
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._fd: int | None = None
        self._stream = ""
        self._created = 0
        self._size = 0
        self._staging = 0
        self._own: list[str] = []
        self._held = 0
        self._counted_at = 0.0
        self._uncounted: dict[str, int] = {}
        self._retired: list[int] = []
        self._unsynced: list[Path] = []
        self._failure: OSError | None = None
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def _after_fork_in_child(self) -> None:
        inherited = [fd for fd in (self._fd, *self._retired) if fd is not None]
        # Locks may have been held by threads that the child does not have.
        self._reset()
        for fd in inherited:
            # The parent may have been about to leave a file, or to close it.
            with contextlib.suppress(OSError):
                os.close(fd)

    @property
    def stream(self) -> str:
        """The id of the stream being written; empty before the first entry."""
        return self._stream

    def append(self, entry: Entry) -> None:
        """Write one entry; it survives this process when the call returns."""
        data = frame(_encoder.encode(entry))
        with self._lock:
            try:
                self._append(entry, data)
            except MLOpsError:
                if isinstance(entry, Log):
                    self._drop(entry.run_id)
                raise
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise Unavailable(f"cannot sync the spool in {self.folder} to the disk: {failure}") from failure

    def put_content(self, run_id: str, path: str, content: bytes) -> None:
        """Append that ``content`` is to be stored under ``path`` of a run: small content, to make a file of which takes
        longer than all else."""
        entry = PutArtifact(run_id, path, "", content)
        data = frame(_encoder.encode(entry))
        with self._lock, self._losing(run_id):
            self._leave_removed()
            self._append(entry, data)

    def put_file(self, run_id: str, path: str, write: Callable[[Path], object]) -> None:
        """Have ``write`` write a file, given its place, and append that it is to be stored under ``path`` of a run."""
        with self._lock, self._losing(run_id):
            self._leave_removed()
            self._ready()
            # While a file is staged under the stream's name its entry must land in the same stream.
            self._staging += 1
            name = f"{self._stream}.{new_id()}{STAGED_SUFFIX}"
        staged = self.folder / name
        kept = False
        try:
            write(staged)
            size = staged.stat().st_size
            entry = PutArtifact(run_id, path, name)
            with self._lock, self._losing(run_id):
                self._append(entry, frame(_encoder.encode(entry)), size)
                self._unsynced.append(staged)
            kept = True
        except OSError as error:
            with self._lock:
                self._drop(run_id)
            raise self._storage_error(error) from error
        finally:
            with self._lock:
                self._staging -= 1
            if not kept:
                staged.unlink(missing_ok=True)

    def sync(self) -> None:
        """Have the disk keep all that was appended; ``OSError`` when it does not."""
        with self._sync_lock:
            with self._lock:
                self._leave_removed()
                retired, self._retired = self._retired, []
                staged, self._unsynced = self._unsynced, []
                fd = self._fd
                self._dirty.clear()
            for path in staged:
                with contextlib.suppress(FileNotFoundError):  # applied and removed meanwhile
                    _fsync_path(path)
            for old in retired:
                os.fsync(old)
                os.close(old)
            if fd is not None:
                os.fsync(fd)
            if fd is not None or staged:
                with contextlib.suppress(FileNotFoundError):  # removed; the next entry makes it anew
                    _fsync_path(self.folder)

    def close(self) -> None:
        """End the stream; a later call begins a new one. Nothing happens when nothing was written."""
        with self._lock:
            thread, self._thread = self._thread, None
            stop, self._stop = self._stop, threading.Event()
            # Nobody else clears it from here on: the thread would wait for ever.
            dirty, self._dirty = self._dirty, threading.Event()
            self._count_losses()
            if self._fd is not None:
                self._end_stream()
        stop.set()
        if thread is not None:
            dirty.set()
            thread.join()
        self.sync()

    def _ready(self) -> None:
        if self._fd is None:
            self._open()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._sync_each_second, args=(self._stop, self._dirty), name="mlops-spool-sync", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError:  # the system has no thread to spare: the next entry tries again, and closing syncs
                self._thread = None

    def _leave_removed(self) -> None:
        """Go on in a new file when somebody has removed the one that is being written, where all would be lost."""
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            self._retired.append(self._fd)
            self._fd = None

    def _append(self, entry: Entry, data: bytes, staged: int = 0) -> None:
        self._ready()
        if self._size > self._segment_bytes and not self._staging:
            self._end_stream()
            self._open()
        if isinstance(entry, Log | PutArtifact):
            if self._held + len(data) + staged > self._max_bytes and not self._room(len(data) + staged):
                raise StorageFull(
                    f"the spool in {self.folder} holds {self._held:,} bytes that could not be stored yet; its limit is "
                    f"{self._max_bytes:,}. What is logged now is dropped, and counted in the run's tag mlops.dropped"
                )
            self._count_losses()
        self._write(data)
        self._held += staged

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            # What follows a half frame could not be read any more.
            try:
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            except OSError:
                self._retired.append(self._fd)
                self._fd = None
            raise self._storage_error(error) from error
        self._size += len(data)
        self._held += len(data)
        if not self._dirty.is_set():
            self._dirty.set()

    def _open(self) -> None:
        stream = new_id()
        created = max(time.time_ns(), self._created + 1)
        header = Header(VERSION, stream, self.session, created, self._target, this_runner())
        try:
            make_private(self.folder)
            self._fd = os.open(self.folder / f"{stream}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._storage_error(error) from error
        self._stream, self._created, self._size = stream, created, 0
        try:
            self._write(MAGIC + frame(_encoder.encode(header)))
        except MLOpsError:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
            (self.folder / f"{stream}{SUFFIX}").unlink(missing_ok=True)
            raise
        self._own.append(stream)
        if self._target:
            with contextlib.suppress(OSError):  # tried again when something is lost
                self.losses.reserve()

    def _end_stream(self) -> None:
        assert self._fd is not None
        with contextlib.suppress(MLOpsError):  # a stream without an end is known by its writer's death
            self._write(frame(_encoder.encode(Closed())))
        if self._fd is not None:
            self._retired.append(self._fd)
            self._fd = None

    def _room(self, needed: int) -> bool:
        """Whether ``needed`` bytes fit, after counting again what still waits (at most once a second)."""
        now = time.monotonic()
        if now - self._counted_at >= 1.0 or not self._counted_at:
            self._counted_at = now
            held: dict[str, int] = dict.fromkeys(self._own, 0)
            with os.scandir(self.folder) as files:
                for file in files:
                    stream = file.name.partition(".")[0]
                    if stream in held:
                        with contextlib.suppress(FileNotFoundError):  # applied and removed meanwhile
                            held[stream] += file.stat().st_size
            self._own = [stream for stream in self._own if held[stream] or stream == self._stream]
            self._held = sum(held.values())
        return self._held + needed <= self._max_bytes

    def _drop(self, run_id: str) -> None:
        self._uncounted[run_id] = self._uncounted.get(run_id, 0) + 1
        self._count_losses()

    @contextlib.contextmanager
    def _losing(self, run_id: str) -> Iterator[None]:
        try:
            yield
        except MLOpsError:
            self._drop(run_id)
            raise

    def _count_losses(self) -> None:
        if self._uncounted:
            with contextlib.suppress(OSError):  # counted with the next entry that finds room
                self.losses.add(self._uncounted)
                self._uncounted.clear()

    def _storage_error(self, error: OSError) -> MLOpsError:
        if error.errno in NO_ROOM:
            return StorageFull(f"no room left for the spool in {self.folder}: {error.strerror}")
        return Unavailable(f"cannot write the spool in {self.folder}: {error}")

    def _sync_each_second(self, stop: threading.Event, dirty: threading.Event) -> None:
        while True:
            dirty.wait()
            if stop.wait(_SYNC_SECONDS):
                return
            try:
                self.sync()
            except OSError as error:
                self._failure = error


def _fsync_path(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_writers: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
