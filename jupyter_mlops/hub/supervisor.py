"""A process that keeps another one serving: it holds the listening sockets, and starts who answers there again.

A hub looks for dead services twice a minute. Until then whoever called would be refused; here they wait in the
sockets' backlog for the second that a new serving process takes. The supervisor is a fork's parent that imports
nothing of the service, so it needs little memory and has nothing of its own to die of.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from jupyter_mlops.core.errors import InvalidValue

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds before another start, when one after the other died soon: doubled each time. No longer, so that whoever
calls is never kept for more than some five seconds by a serving process that died."""
SETTLED_SECONDS = 10.0
"""Who has lived for so long did not die of how it was started: the next is started at once."""
_BACKLOG = 1024
"""Connections that may wait, per socket; the system's own limit applies too."""
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_READY = b"r"
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_AWAITED = (*_STOPPING, signal.SIGCHLD, signal.SIGALRM)


class Link:
    """A serving process's end of the connection to its supervisor."""

    def __init__(self, end: socket.socket, *, first: bool) -> None:
        self._end = end
        self.first = first
        """Whether none has served before."""

    def ready(self) -> None:
        """Say that requests are answered."""
        with suppress(OSError):
            self._end.sendall(_READY)

    def end_with_supervisor(self, seconds: float) -> None:
        """From now on this process ends with its supervisor, also when that is killed: as by SIGTERM, and anyhow after
        ``seconds``."""
        threading.Thread(target=self._watch, args=(seconds,), name="supervisor", daemon=True).start()

    def _watch(self, seconds: float) -> None:
        with suppress(OSError):
            self._end.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os._exit(1)


def listening(ip: str, port: int) -> list[socket.socket]:
    """Sockets that listen at an address or a host's name (all addresses of this machine when empty).

    Port 0 takes a free one. Raises ``InvalidValue`` when the place is taken or is not of this machine.
    """
    found: list[socket.socket] = []
    refused: OSError | None = None
    try:
        places = socket.getaddrinfo(ip or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(places):
            # All at the port that the first one got.
            taken = found[0].getsockname()[1] if found else port
            try:
                found.append(_listening(family, (address[0], taken, *address[2:])))
            except OSError as error:
                # A machine may know the name of a loopback address that it does not have.
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                refused = error
        if not found and refused is not None:
            raise refused
    except OSError as error:
        for each in found:
            each.close()
        where = f"{ip or 'all addresses'}, port {port}"
        raise InvalidValue(f"the service cannot listen at {where}: {error.strerror}") from error
    return found


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def supervise(sockets: Sequence[socket.socket], log: logging.Logger, stop_seconds: float) -> Link:
    """Fork, and return in each serving process; the supervisor itself ends here, by SystemExit.

    It ends when the serving process ends in order, when the first one never became ready, and with SIGINT and SIGTERM,
    which it passes on; what hangs for ``stop_seconds`` after them is killed. A serving process that dies otherwise is
    followed by another one.
    """
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    # An ignored signal need not be kept for sigwait.
    handlers = {number: signal.signal(number, _nothing) for number in (signal.SIGCHLD, signal.SIGALRM)}
    pause, first = 0.0, True
    while True:
        ours, theirs = socket.socketpair()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for number, handler in handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)
            # Until it serves there is nothing to bring to an end.
            for number in _STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)
            return Link(theirs, first=first)
        theirs.close()
        status, stopped = _outlived(pid, sockets, stop_seconds)
        was_ready, seconds = _said_ready(ours), time.monotonic() - started
        ours.close()
        if stopped or status == 0 or (first and not was_ready):
            # As a shell tells of a signal.
            sys.exit(128 - status if status < 0 else status)
        pause = 0.0 if seconds >= SETTLED_SECONDS else min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        log.warning("the serving process %d %s; another one starts in %g s", pid, _told(status), pause)
        first = False
        if pause and _stopped_within(pause):
            sys.exit(0)


def _outlived(pid: int, sockets: Sequence[socket.socket], stop_seconds: float) -> tuple[int, bool]:
    """Wait for the end of the serving process; gives its exit code (as :func:`os.waitstatus_to_exitcode` does), and
    whether it was to stop."""
    stopped = False
    while True:
        number = signal.sigwait(_AWAITED)
        if number in _STOPPING:
            stopped = True
            # Whoever comes now shall be refused, not wait for nobody.
            for each in sockets:
                each.close()
            os.kill(pid, number)
            signal.setitimer(signal.ITIMER_REAL, stop_seconds)
        elif number == signal.SIGALRM and stopped:
            os.kill(pid, signal.SIGKILL)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), stopped


def _stopped_within(seconds: float) -> bool:
    """Wait; gives whether a signal to stop came meanwhile."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        while (number := signal.sigwait(_AWAITED)) != signal.SIGALRM:
            if number in _STOPPING:
                return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False


def _said_ready(end: socket.socket) -> bool:
    end.setblocking(False)
    try:
        return end.recv(1) == _READY
    except OSError:
        return False


def _told(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _nothing(_number: int, _frame: object) -> None:
    return
