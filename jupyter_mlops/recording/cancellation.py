"""Ctrl-C, SIGTERM and a closed terminal as requests to cancel a run, not as exceptions in the middle of things.

A signal says nothing about why. Whoever has more to say (a server that stops) leaves a note before it sends one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from jupyter_mlops.core.records import Reason, ReasonKind

CANCELLING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cancelled_by_signals(cancel: Callable[[str], None]) -> Iterator[None]:
    """Call ``cancel`` with the signal's name, in a thread of its own, at the first SIGINT, SIGTERM or SIGHUP.

    Signals that are ignored (a command under ``nohup``, or in the background of a script) stay ignored. A second SIGINT
    raises ``KeyboardInterrupt`` as usual, for those who cannot wait. In another thread than the main one, where Python
    cannot handle signals, nothing changes.
    """
    called = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal called
        if not called:
            called = True
            # Not here: the main thread may hold any lock just now.
            threading.Thread(target=cancel, args=(signal.Signals(number).name,), name="mlops-cancel").start()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    with _handled(handle):
        yield


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Have the signals that :func:`cancelled_by_signals` is about come when the block has ended: in the middle of
    starting a process they would leave one that nobody knows of."""
    came: list[int] = []
    try:
        with _handled(lambda number, _: came.append(number)):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have ``handle`` called for signals that cancel and are not ignored; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in CANCELLING if signal.getsignal(number) is not signal.SIG_IGN]
    previous = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            # None stands for a handler that was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Stop:
    """A request to end one run for a reason, from another thread than the one that does it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: Callable[[Reason], None] | None = None
        self._reason: Reason | None = None

    def request(self, reason: Reason) -> None:
        """End the run for ``reason``, now or as soon as it can hear it; only the first request counts."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
                if self._heard is not None:
                    self._heard(reason)

    @contextmanager
    def heard_by(self, stop: Callable[[Reason], None]) -> Iterator[None]:
        """Call ``stop`` with the reason of the request, at once when it came before."""
        with self._lock:
            self._heard = stop
            if self._reason is not None:
                stop(self._reason)
        try:
            yield
        finally:
            with self._lock:
                self._heard = None


def leave_note(note: Path, reason: Reason) -> None:
    """Say why what is about to be cancelled is cancelled; what an earlier note says stays."""
    partial = note.with_name(f".{note.name}.tmp")
    partial.write_bytes(msgspec.json.encode(reason))
    if note.exists():
        partial.unlink()
    else:
        partial.replace(note)


def read_note(note: Path) -> Reason | None:
    """What the note says; None when there is none."""
    try:
        return msgspec.json.decode(note.read_bytes(), type=Reason)
    except (OSError, msgspec.DecodeError):
        return None


def why_cancelled(note: str | None, default: str) -> Reason:
    """The reason that the note in the file ``note`` gives; cancelled with the message ``default`` otherwise."""
    found = None if note is None else read_note(Path(note))
    return found or Reason(kind=ReasonKind.CANCELLED, message=default)
