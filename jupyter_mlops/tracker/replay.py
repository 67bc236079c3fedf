"""Replay: what spools hold, applied to a tracker exactly once and in order.

Anyone may replay any spool, at any time, also several at once. Exactly once comes from the tracker, which advances a
stream's watermark in the transaction of the write itself; a file lock only keeps replayers from doing the work twice,
and keeps a resent batch the same batch: see ``<stream>.sent``.

What the tracker refuses (not: what it cannot do now) goes to ``<stream>.dead``, one JSON object a line, and does not
block the rest. Files that are applied, and whose writer has closed them or is gone, are removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from jupyter_mlops.core.errors import (
    InvalidValue,
    MLOpsError,
    NotFound,
    QuotaExceeded,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from jupyter_mlops.core.records import Batch, NewRun, Run, StreamPosition, Tag
from jupyter_mlops.tracker import losses
from jupyter_mlops.tracker.deadletters import DEAD_SUFFIX, DeadLetter, bury, read_letters
from jupyter_mlops.tracker.filelock import locked
from jupyter_mlops.tracker.files import PutsTogether
from jupyter_mlops.tracker.merging import Pending, goes_along, merged, parted
from jupyter_mlops.tracker.process import is_alive, this_runner
from jupyter_mlops.tracker.protocol import LogsAndChanges, Tracker
from jupyter_mlops.tracker.spoolfile import (
    STAGED_SUFFIX,
    SUFFIX,
    Change,
    Closed,
    Create,
    Entry,
    Header,
    Log,
    PutArtifact,
    decode,
    is_torn,
    read_header,
    read_payloads,
    target_of,
)

DROPPED_TAG = "mlops.dropped"
_SENT_SUFFIX = ".sent"
DAMAGED_SUFFIX = ".damaged"
_HEADLESS_SECONDS = 3600.0
_PATIENCE_SECONDS, _SHORT_PATIENCE_SECONDS = 600.0, 60.0
"""How long a stream is waited for that another process replays, which may be a large file's; or was stopped in that."""


class Replayed(msgspec.Struct):
    """What a replay did, in entries."""

    applied: int = 0
    refused: int = 0
    refusal: str = ""
    """Why the first of them was refused."""
    changed: Run | None = None
    """The run that the last of what was applied has changed, as it is since; None where that was no change."""


def replay(path: Path, tracker: Tracker) -> Replayed:
    """Apply one spool file; see :meth:`Replayer.run` for the errors."""
    result = Replayed()
    stream = _open_stream(path)
    if stream is not None:
        stream.replay(tracker, result, _SHORT_PATIENCE_SECONDS)
    return result


def replay_folder(folder: Path, tracker: Tracker) -> Replayed:
    """Apply all spools of a folder that are for this tracker, which may be others'. To do it again and again, keep a
    :class:`Replayer`."""
    return Replayer(folder, patience=_SHORT_PATIENCE_SECONDS).run(tracker)


class Replayer:
    """Replays a folder repeatedly, reading only what is new. Any thread may call.

    Parameters
    ----------
    folder
        Where the spools are; it need not exist.
    session
        Replay only the streams of this session (:attr:`SpoolWriter.session`); those of all when None.
    patience
        How many seconds to wait for another process that is replaying a stream.
    """

    def __init__(self, folder: Path, *, session: str | None = None, patience: float = _PATIENCE_SECONDS) -> None:
        self._folder = folder
        self._patience = patience
        self._session = session
        self._streams: dict[str, _Stream] = {}
        self._counted: set[str] = set()
        self._told: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def run(self, tracker: Tracker) -> Replayed:
        """Apply what is there for this tracker, oldest stream first.

        Raises
        ------
        MLOpsError
            The tracker cannot store now (``Unavailable``, ``StorageFull``, ``Unauthenticated``...), a spool has a newer
            format or cannot be read, or another process is busy with it and does not come to an end: all that was not
            applied is kept for the next time. ``QuotaExceeded`` holds up the streams that it is about, and no others.
        """
        result = Replayed()
        with self._lock:
            held_up: MLOpsError | None = self._discover()
            targets = ("", target_of(tracker.url))
            for name, stream in sorted(self._streams.items(), key=lambda item: item[1].header.created):
                if stream.header.target not in targets or self._session not in (None, stream.header.session):
                    continue
                try:
                    over = stream.replay(tracker, result, self._patience)
                except QuotaExceeded as error:  # of one owner; what is others' may have room
                    held_up = error
                    continue
                except OSError as error:
                    held_up = Unavailable(f"cannot replay the spool {self._folder / name}: {error.strerror}")
                    continue
                if over:
                    del self._streams[name]
            for name in self._counted:
                self._tell_losses(self._folder / name, tracker, result)
        if held_up is not None:
            raise held_up
        return result

    def _tell_losses(self, path: Path, tracker: Tracker, result: Replayed) -> None:
        """Tell the runs of a session how much of what they logged is lost."""
        if self._session not in (None, path.stem):
            return
        found = losses.read_losses(path)
        if found is None or found.target not in ("", target_of(tracker.url)):
            return
        told = self._told.setdefault(path.name, {})
        for run_id, count in found.counts.items():
            if count != told.get(run_id, 0):
                result.changed = None
                with _refused():  # the run is gone
                    tracker.runs.log(run_id, Batch(tags=(Tag(DROPPED_TAG, str(count)),)))
                told[run_id] = count
        live = {stream.header.session for stream in self._streams.values()}
        if found.target and path.stem not in live and is_alive(found.writer) is False:
            path.unlink(missing_ok=True)

    def _discover(self) -> Unavailable | None:
        unreadable = None
        found = set()
        try:
            with os.scandir(self._folder) as files:
                found = {file.name for file in files}
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            return Unavailable(f"cannot read the spools in {self._folder}: {error.strerror}")
        names = {name for name in found if name.endswith(SUFFIX)}
        self._counted = {name for name in found if name.endswith(losses.SUFFIX)}
        for name in names - self._streams.keys():
            try:
                stream = _open_stream(self._folder / name)
            except Unavailable as error:
                unreadable = error
                continue
            except OSError as error:
                unreadable = Unavailable(f"cannot read the spool {self._folder / name}: {error.strerror}")
                continue
            if stream is not None:
                self._streams[name] = stream
        for name in self._streams.keys() - names:
            del self._streams[name]
        return unreadable


def _open_stream(path: Path) -> _Stream | None:
    """The stream of a spool file; None when the file is gone or has no header (yet)."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            # Opening a pipe would wait for ever.
            raise Unavailable(f"cannot read the spool {path}: it is no plain file")
        with path.open("rb") as file:
            header = read_header(file)
            if header is not None:
                return _Stream(path, header, file.tell())
            # Its writer died before anything was acknowledged.
            if time.time() - os.fstat(file.fileno()).st_mtime > _HEADLESS_SECONDS:
                path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return None


class _Stream:
    """One spool file, and the part of it that is known to be applied."""

    def __init__(self, path: Path, header: Header, offset: int) -> None:
        self.header = header
        self._path = path
        self._dead = path.with_suffix(DEAD_SUFFIX)
        self._sent = path.with_suffix(_SENT_SUFFIX)
        self._offset = offset
        self._number = 0
        self._closed = False
        self._is_own = header.writer == this_runner()
        self._stored: tuple[str, int] | None = None
        """Where, and up to which number, the store has said so."""

    def replay(self, tracker: Tracker, result: Replayed, patience: float) -> bool:
        """Apply what is new. Whether the stream is over and its files are gone."""
        # Asked before reading, so that all that a dead writer wrote has been read when the file is removed.
        over = self._closed or is_alive(self.header.writer) is False
        try:
            if not over and self._path.stat().st_size == self._offset:
                return False
            file = self._path.open("rb")
        except FileNotFoundError:
            return True
        with file, locked(file.fileno(), patience):
            if os.fstat(file.fileno()).st_nlink == 0:
                return True
            sent = os.open(self._sent, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                known = self._known(tracker)
                sender = _Sender(self._path, self.header.stream, sent, tracker, result, known)
                self._apply_new(file, sender)
                self._stored = None if sender.stored is None else (tracker.url, sender.stored)
            finally:
                os.close(sent)
            if not over and not self._closed:
                return False
            self._remove(file)
        return True

    def _known(self, tracker: Tracker) -> int | None:
        """The number up to which the store is known to have the entries, unless somebody has sent some since."""
        if self._stored is not None and self._stored[0] == tracker.url:
            return self._stored[1]
        # Of a stream of this process it has none, as long as nobody has noted that he sends some: the machine has not
        # gone down meanwhile, which may lose such a note.
        return 0 if self._is_own else None

    def _apply_new(self, file: BinaryIO, sender: _Sender) -> None:
        group: list[Pending] = []

        def send() -> None:
            if group:
                sender.send(group)
                self._number, self._offset = group[-1].number, group[-1].end
                group.clear()

        for number, (payload, end) in enumerate(read_payloads(file, self._offset), self._number + 1):
            entry = sender.to_send(number, payload)
            if entry is not None:
                pending = Pending(number, payload, entry, end)
                if group and not sender.mergeable(group, pending):
                    send()
                group.append(pending)
            else:
                send()
                self._number, self._offset = number, end
        send()
        self._closed = sender.closed

    def _remove(self, file: BinaryIO) -> None:
        refused = {letter.entry.get("file") for letter in read_letters(self._dead) if isinstance(letter.entry, dict)}
        names: list[str] = []
        with contextlib.suppress(FileNotFoundError, PermissionError):  # the notebook may have removed the folder
            names = os.listdir(self._path.parent)  # noqa: PTH208 - a pattern for this stream alone takes longer
        for name in names:
            if name.startswith(f"{self.header.stream}.") and name.endswith(STAGED_SUFFIX) and name not in refused:
                (self._path.parent / name).unlink(missing_ok=True)
        self._sent.unlink(missing_ok=True)
        if os.fstat(file.fileno()).st_size > self._offset and not is_torn(file, self._offset):
            self._path.rename(self._path.with_suffix(DAMAGED_SUFFIX))
        else:
            self._path.unlink(missing_ok=True)


class _Sender:
    """Sends a stream's entries to the tracker, for as long as the stream's lock is held. ``known`` is the number up to
    which the store has applied them by what it answered here last."""

    def __init__(
        self, path: Path, stream: str, sent: int, tracker: Tracker, result: Replayed, known: int | None
    ) -> None:
        self.closed = False
        self.stored = known
        self._stream = stream
        self._folder = path.parent
        self._sent = sent
        self._dead_path = path.with_suffix(DEAD_SUFFIX)
        self._dead = {letter.number for letter in read_letters(self._dead_path)}
        self._tracker = tracker
        self._result = result
        # What was sent last may be applied only after the watermark was read, when its sender was killed or gave up
        # waiting. Sent again with the same end, it is the same write; with more entries behind it, it would be applied
        # twice.
        self._boundary = int.from_bytes(os.pread(sent, 8, 0), "little")
        # Nobody has sent anything since, then: who does, notes it before.
        is_known = known is not None and known == self._boundary
        self._watermark = self._boundary if is_known else tracker.runs.watermark(stream)

    def to_send(self, number: int, payload: bytes) -> Entry | None:
        """The entry, unless there is nothing (more) to be done for it."""
        if number <= self._watermark or number in self._dead:
            return None
        try:
            entry = decode(payload)
        except msgspec.DecodeError as error:
            self._bury(number, payload, None, error)
            return None
        if isinstance(entry, Closed):
            self.closed = True
            return None
        return entry

    def mergeable(self, group: list[Pending], pending: Pending) -> bool:
        return group[-1].number != self._boundary and goes_along(group, pending, self._tracker, self._folder)

    def send(self, group: Sequence[Pending]) -> None:
        if len(group) == 1:
            self._send_one(group[0])
        elif not self._send_merged(group):
            for part in parted(group):
                self.send(part)

    def _send_merged(self, group: Sequence[Pending]) -> bool:
        """Whether the entries (of one run) could be written as one; nothing is written when not."""
        logs = [pending.entry for pending in group if isinstance(pending.entry, Log)]
        puts = [pending.entry for pending in group if isinstance(pending.entry, PutArtifact)]
        last = group[-1].entry
        position = self._position(group[-1].number)
        changed = None
        try:
            if isinstance(last, Change):
                changed = self._log_and_change(logs, last, position)
            elif logs:
                self._tracker.runs.log(logs[0].run_id, merged([entry.batch for entry in logs]), position)
            else:
                self._put_together(puts, position)
        except MLOpsError as error:
            # A quota may have room for what was logged, and none for the run that a change begins.
            if not (is_refusal(error) or (isinstance(last, Change) and isinstance(error, QuotaExceeded))):
                raise
            return False
        self._note(len(group), position, changed)
        return True

    def _send_one(self, pending: Pending) -> None:
        position = self._position(pending.number)
        try:
            changed = self._apply(pending.entry, position)
        except MLOpsError as error:
            if not is_refusal(error):
                raise
            self._bury(pending.number, pending.payload, pending.entry, error)
        else:
            self._note(1, position, changed)

    def _note(self, applied: int, position: StreamPosition, changed: Run | None) -> None:
        self._result.applied += applied
        self._result.changed = changed
        self.stored = position.number

    def _position(self, number: int) -> StreamPosition:
        os.pwrite(self._sent, number.to_bytes(8, "little"), 0)
        return StreamPosition(self._stream, number)

    def _apply(self, entry: Entry, position: StreamPosition) -> Run | None:
        """Gives the run that is changed, as it is then."""
        tracker = self._tracker
        if isinstance(entry, Log):
            tracker.runs.log(entry.run_id, entry.batch, position)
        elif isinstance(entry, PutArtifact):
            source = self._source(entry)
            tracker.artifacts.put(entry.run_id, entry.path, source, position)
            _discard(source)
        elif isinstance(entry, Change):
            return tracker.runs.change(entry.run_id, entry.change, position)
        elif isinstance(entry, Create):
            tracker.runs.create(_placed(entry, tracker), position)
        return None

    def _log_and_change(self, logs: list[Log], change: Change, position: StreamPosition) -> Run:
        runs = self._tracker.runs
        assert isinstance(runs, LogsAndChanges)
        return runs.log_and_change(change.run_id, merged([entry.batch for entry in logs]), change.change, position)

    def _put_together(self, entries: list[PutArtifact], position: StreamPosition) -> None:
        artifacts = self._tracker.artifacts
        assert isinstance(artifacts, PutsTogether)
        sources = [self._source(entry) for entry in entries]
        files = {entry.path: source for entry, source in zip(entries, sources, strict=True)}
        artifacts.put_files(entries[0].run_id, files, position)
        for source in sources:
            _discard(source)

    def _source(self, entry: PutArtifact) -> Path | BytesIO:
        """What is to be stored."""
        if entry.content is not None:
            return BytesIO(entry.content)
        staged = self._folder / entry.file
        # Only what its own writer has staged: it is removed afterwards.
        if not (entry.file.startswith(f"{self._stream}.") and "/" not in entry.file and _is_plain_file(staged)):
            raise NotFound(f"the copy {staged} of what was to be stored as {entry.path!r} does not exist")
        return staged

    def _bury(self, number: int, payload: bytes, entry: Entry | None, error: Exception) -> None:
        message = f"{type(error).__name__}: {error.message if isinstance(error, MLOpsError) else error}"
        letter = DeadLetter(number, time.time_ns() // 1_000_000, message, msgspec.to_builtins(entry), payload)
        bury(self._dead_path, letter)
        self._dead.add(number)
        self._result.refused += 1
        self._result.refusal = self._result.refusal or message


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _discard(source: Path | BytesIO) -> None:
    """What is stored now is not needed any more."""
    if isinstance(source, Path):
        source.unlink(missing_ok=True)


def is_refusal(error: MLOpsError) -> bool:
    """Whether sending it again could never succeed."""
    later = isinstance(error, Unauthenticated | TooManyRequests)
    return (error.http_status < 500 and not later) or error.http_status == 501


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What the tracker refuses is passed over; what it cannot do now is raised."""
    try:
        yield
    except MLOpsError as error:
        if not is_refusal(error):
            raise


def _placed(entry: Create, tracker: Tracker) -> NewRun:
    new = entry.new
    if new.experiment_id:
        return new
    if entry.experiment:
        return msgspec.structs.replace(new, experiment_id=tracker.experiments.ensure(entry.experiment).experiment_id)
    if new.parent_run_id:
        return msgspec.structs.replace(new, experiment_id=tracker.runs.get(new.parent_run_id).experiment_id)
    raise InvalidValue("a new run names neither its experiment nor a parent run")
