"""A run while it is being recorded: takes what is learned about it and has it stored, without making anyone wait.

Everything goes through the run's spool (:mod:`jupyter_mlops.tracker.spool`), in the same folder that the kernel writes
its own to, and a thread replays that folder into the tracker each second. So a store that is away for a while delays
the record and nothing else, and what a killed runner left is found by the next :func:`~.lost.recover`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from jupyter_mlops.core.errors import Conflict, MLOpsError, QuotaExceeded, StorageFull, Unavailable
from jupyter_mlops.core.records import Batch, Metric, Param, Progress, Run, RunChange, Runner, Tag
from jupyter_mlops.core.run_files import EXECUTED
from jupyter_mlops.recording.heartbeat import HEARTBEAT_SECONDS
from jupyter_mlops.recording.outputs import Logged
from jupyter_mlops.recording.usage import Usage
from jupyter_mlops.recording.variables import STRICT
from jupyter_mlops.tracker import losses
from jupyter_mlops.tracker.location import HOME, home, make_private
from jupyter_mlops.tracker.losses import nothing_lost, read_losses
from jupyter_mlops.tracker.process import is_alive
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import Replayer
from jupyter_mlops.tracker.spool import SpoolWriter
from jupyter_mlops.tracker.spoolfile import SUFFIX, Change, Entry, Log

logger = logging.getLogger("jupyter_mlops")

NOTICE_TAG = "mlops.notice"
_TICK_SECONDS = 1.0
_SHORTEST_SAMPLE, _LONGEST_SAMPLE = 2.0, 30.0
"""Seconds between samples of usage. The interval grows with the run's age, so that a long run's history stays small."""
_UPLOAD_SECONDS = 5.0
_HALF_MADE_SECONDS = 3600.0
_SMALL_FILE = 1 << 16
"""Bytes up to which a file's content is written to the spool itself."""
_RESERVE_BYTES = 1 << 16
"""Room for what a run's end is told in, also where it filled the disk: behind what tells of the folder's owner."""


class RunFolder:
    """A running notebook's, or sweep's, files on this machine. The folder is removed when the run has been recorded;
    that of a killed process by the next ``recover``."""

    def __init__(self, run_id: str) -> None:
        self.path = home() / "runs" / run_id
        self.spool = self.path / "spool"
        self.scratch = self.path / "scratch"
        """The notebook's private working space, ``mlops.run_dir()``."""
        self.executed = self.path / "executed.ipynb"
        """The executed notebook as far as it is."""
        self.kernel_log = self.path / "kernel.log"
        self.losses = self.spool / losses.OF_A_RUN
        self._owner = self.path / "owner"
        """The same file: it says who made the folder, also where the notebook has removed that of the spools."""

    def create(self) -> None:
        """Make it; ``Conflict`` when it is there already, because the run is being done or its runner was killed,
        ``Unavailable`` when it cannot be made."""
        try:
            make_private(self.path.parent)
            self.path.mkdir(mode=0o700)
            self.spool.mkdir()
            self.scratch.mkdir()
            self._owner.write_bytes(nothing_lost("") + bytes(_RESERVE_BYTES))
            self.losses.hardlink_to(self._owner)
        except FileExistsError:
            raise Conflict(f"run {self.path.name} is being done already, or was left by a killed process") from None
        except OSError as error:
            self.remove()
            raise Unavailable(
                f"the run's folder {self.path} cannot be created ({error.strerror}); set {HOME} to a folder that can "
                "be written"
            ) from error

    def give_room(self) -> None:
        """Give up the room that was reserved for the end of the run: a full disk has so much again."""
        with contextlib.suppress(OSError):  # the notebook may have removed the folder
            os.truncate(self._owner, losses.BYTES)

    @property
    def owner(self) -> Runner | None:
        """The process that made the folder; None when it has not told yet, or there is no folder."""
        made = read_losses(self._owner)
        return None if made is None else made.writer

    def is_abandoned(self) -> bool:
        """Whether the process that made the folder is gone."""
        owner = self.owner
        if owner is None:
            # It is being made, or removed; or its maker was killed in the middle of that.
            with contextlib.suppress(OSError):
                return time.time() - self.path.stat().st_mtime > _HALF_MADE_SECONDS
            return False
        return is_alive(owner) is False

    def __enter__(self) -> RunFolder:
        self.create()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        try:
            # What most runs leave; to look for it takes longer.
            for file in self.losses, self.kernel_log, self.executed, self._owner:
                file.unlink(missing_ok=True)
            for folder in self.spool, self.scratch, self.path:
                folder.rmdir()
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)


class Recorder:
    """Records one run, from its creation to its end. Any thread may call."""

    def __init__(self, tracker: Tracker, run_id: str, folder: RunFolder) -> None:
        self.run_id = run_id
        self.folder = folder
        self._tracker = tracker
        self._spool = SpoolWriter(folder.spool)
        self._replayer = Replayer(folder.spool)
        self._usage: Usage | None = None
        self._last: tuple[Metric, ...] = ()
        self._progress: Progress | None = None
        self._notices: list[str] = []
        self._warned = False
        self._refusal = ""
        """Why something is not stored, for good."""
        self._full = False
        """Something found no room on this machine's disk."""
        self._ending = False
        self._unraised: MLOpsError | None = None
        """What would have been raised, had the end not been to be recorded first."""
        self._started = time.monotonic()
        self._uploaded = self._started
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="mlops-recorder", daemon=True)

    def start(self, kernel_pid: int | None) -> None:
        """Begin to store what is recorded, and to watch the kernel's use of the machine."""
        if kernel_pid is not None:
            self._usage = Usage(kernel_pid)
        self._thread.start()

    def log(self, *, metrics: Iterable[Metric] = (), params: Iterable[Param] = (), tags: Iterable[Tag] = ()) -> None:
        batch = Batch(metrics=tuple(metrics), params=tuple(params), tags=tuple(tags))
        if batch != Batch():
            self._append(Log(self.run_id, batch))

    def put(self, path: str, content: bytes | Path) -> bool:
        """Store a file under the artifact path ``path``; a file given by its place is copied at once. Whether it is
        kept."""

        def write(staged: Path) -> None:
            if isinstance(content, Path):
                shutil.copyfile(content, staged)
            else:
                staged.write_bytes(content)

        with self._warned_of():
            if isinstance(content, bytes) and len(content) <= _SMALL_FILE:
                self._spool.put_content(self.run_id, path, content)
            else:
                self._spool.put_file(self.run_id, path, write)
            return True
        return False

    def put_executed(self, content: bytes) -> None:
        """Store the executed notebook as it is at the end; say so when that cannot be done."""
        if self.put(EXECUTED, content):
            return
        # The store may well be on another disk than the spool, whose replay needs a little room.
        self.folder.give_room()
        try:
            self._replayer.run(self._tracker)  # an older state, that waits, must not replace this one
            self._tracker.artifacts.put(self.run_id, EXECUTED, BytesIO(content))
            with contextlib.suppress(OSError):
                self._spool.losses.add({self.run_id: -1})
        except MLOpsError as error:
            self.notice(
                "the executed notebook could not be stored, so the record has an older state of it or none: "
                f"{error.message}"
            )

    def take(self, logged: Logged) -> None:
        """Record what an output of the notebook logged, without secrets by now."""
        self.log(metrics=logged.metrics, params=logged.params, tags=logged.tags)
        for path, content in logged.artifacts.items():
            self.put(path, content)
        for problem in logged.problems:
            self.notice(f"an output could not be recorded: {problem}")

    def progress(self, progress: Progress) -> None:
        """Where the run is; written at most once a second."""
        self._progress = progress

    def notice(self, text: str) -> None:
        """Say one line to the user, and keep it with the run."""
        if text in self._notices:
            return
        logger.warning(text)
        self._notices.append(text)
        self._append(self._all_notices())

    def _all_notices(self) -> Log:
        return Log(self.run_id, Batch(tags=(Tag(NOTICE_TAG, "\n".join(self._notices)[:5000]),)))

    def save_executed(self, notebook: Any) -> bytes:
        """Keep the executed notebook as it is now: on this machine at once, in the store from time to time. Gives the
        file's content."""
        # Not as nbformat writes it: that is many times slower, and this happens after each cell.
        content = json.dumps(notebook, sort_keys=True).encode()
        try:
            write_atomically(self.folder.executed, content)
        except OSError as error:
            self._warn(Unavailable(f"{self.folder.executed} cannot be written: {error.strerror}"))
        now = time.monotonic()
        # The interval grows with the run's age, so that a long run leaves few superseded copies to collect.
        if now - self._uploaded >= max(_UPLOAD_SECONDS, (now - self._started) / 10):
            self._uploaded = now
            self.put(EXECUTED, content)
        return content

    def sample(self) -> None:
        """Record the kernel's use of the machine now."""
        self.log(metrics=self._measured())

    def sample_last(self) -> None:
        """Measure the kernel's use of the machine while it is there; this is recorded with the end."""
        self._last = self._measured()

    def _measured(self) -> tuple[Metric, ...]:
        return () if self._usage is None else self._usage.sample()

    def store(self) -> None:
        """Store what there is by now, as far as the store takes it: what remains for the end is little then."""
        try:
            self._replay()
        except MLOpsError as error:
            self._warn(error)

    def _replay(self) -> Run | None:
        """Gives the run that the last of what was stored has changed."""
        replayed = self._replayer.run(self._tracker)
        self._refusal = self._refusal or replayed.refusal
        return replayed.changed

    def _has_others(self) -> bool:
        """Whether others than this process have logged to the run."""
        with contextlib.suppress(OSError):  # the notebook may have removed the folder
            own = f"{self._spool.stream}{SUFFIX}"
            return any(name.endswith(SUFFIX) and name != own for name in os.listdir(self.folder.spool))  # noqa: PTH208
        return True

    def finish(self, change: RunChange) -> Run:
        """Record the end and store everything; the kernel has ended by now, and its spools with it.

        Raises
        ------
        MLOpsError
            The store does not take it now. The record is complete in the run's folder, and the next ``recover`` stores
            it. What finds no room in a quota waits there too, without an error: the end itself needs none. In strict
            mode also what else went wrong, once the end is recorded.
        """
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._ending = True
        self.folder.give_room()
        # Behind all files, so that these are stored together.
        self.log(metrics=self._last)
        self._notice_losses()
        try:
            if self._has_others():
                # What the kernel logged comes before the end, so that who waits for the end finds it complete.
                self._replayed()
        finally:
            noticed = not self._full or not self._notices or self._append(self._all_notices())
            self._append(Change(self.run_id, change))
            with self._warned_of():
                self._spool.close()
        run, refusal = self._replayed()
        if not noticed:
            self._tracker.runs.log(self.run_id, self._all_notices().batch)
            run = None
        if run is None or run.run_id != self.run_id or not run.status.ended:
            run = self._tracker.runs.get(self.run_id)
        if not run.status.ended:
            # The notebook may have removed or damaged the spool, or what comes before the end waits for room.
            run = self._tracker.runs.change(self.run_id, change)
        if refusal:
            logger.warning("not all that this run logged could be stored: %s (kept in %s)", refusal, self.folder.path)
        else:
            self.folder.remove()
        if self._unraised is not None:
            raise self._unraised
        return run

    def _replayed(self) -> tuple[Run | None, str]:
        """Store what was logged. Gives the run that the last of it has changed, and why some of it is not stored, for
        good or until there is room in a quota, else nothing."""
        try:
            changed = self._replay()
        except QuotaExceeded as error:
            return None, error.message
        return changed, self._refusal

    def _notice_losses(self) -> None:
        counted = read_losses(self.folder.losses)
        total = 0 if counted is None else sum(counted.counts.values())
        if total:
            self.notice(f"{total:,} of the values and files that were logged found no room on the disk and are lost")
        elif self._full or counted is None:
            self.notice(
                f"{self.folder.path} was full or damaged while this run went on: what was logged then may be lost, and "
                "could not be counted"
            )

    def _append(self, entry: Entry) -> bool:
        """Whether the entry is kept."""
        with self._warned_of():
            self._spool.append(entry)
            return True
        return False

    @contextlib.contextmanager
    def _warned_of(self) -> Iterator[None]:
        try:
            yield
        except MLOpsError as error:
            self._warn(error)
        except OSError as error:
            self._warn(Unavailable(f"{error.filename or self.folder.spool}: {error.strerror}"))

    def _warn(self, error: MLOpsError) -> None:
        """Tracking never breaks what it tracks: a failure is said once (and raised in strict mode, but not where nobody
        would hear of it and the run of nothing more)."""
        self._full = self._full or isinstance(error, StorageFull)
        if os.environ.get(STRICT) == "1" and threading.current_thread() is not self._thread:
            if not self._ending:
                raise error
            self._unraised = self._unraised or error
        if not self._warned:
            self._warned = True
            logger.warning("recording run %s: %s", self.run_id, error.message)

    def _tick(self) -> None:
        sampled, beat = -_SHORTEST_SAMPLE, 0.0
        written: Progress | None = None
        while not self._stop.wait(_TICK_SECONDS):
            age = time.monotonic() - self._started
            if age - sampled >= min(_LONGEST_SAMPLE, max(_SHORTEST_SAMPLE, age / 50)):
                sampled = age
                self.sample()
            if self._progress != written:
                written = self._progress
                self._append(Change(self.run_id, RunChange(progress=written)))
            try:
                with self._going_on_without_room():
                    self._replay()
                if age - beat >= HEARTBEAT_SECONDS:
                    beat = age
                    self._tracker.runs.heartbeat(self.run_id)
            except MLOpsError as error:
                self._warn(error)

    @contextlib.contextmanager
    def _going_on_without_room(self) -> Iterator[None]:
        """What finds no room in a quota waits; the run is to be heard of all the same."""
        try:
            yield
        except QuotaExceeded as error:
            self._warn(error)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``; a crash leaves the old file or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        # Half of it would fill what room there is.
        partial.unlink(missing_ok=True)
        raise
