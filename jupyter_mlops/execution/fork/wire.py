"""Messages of several parts between a runner and a kernel on the same machine. It needs nothing that is not Python's
own."""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

_LARGEST_PACKET = 60_000
"""Bytes: several find room in the system's usual buffer of 208 KiB, which no packet may exceed."""
_HEAD = struct.Struct("<QB")
"""Of a packet: the number of its message, and whether it is the last one of that."""


class Wire:
    """One end of a pair of sockets that keep packets whole.

    A packet is sent altogether or not at all. So any thread may send, and any process that was forked off the one that
    has the end, without a lock and with no trace of one that is killed meanwhile; and who sends more than is taken
    waits, so that nothing is lost.
    """

    def __init__(self, end: socket.socket) -> None:
        # A default that code has set holds for sockets that are made of descriptors, too.
        end.settimeout(None)
        self._end = end
        self._numbers = itertools.count()
        self._begun: dict[int, list[bytes]] = {}

    @staticmethod
    def pair() -> tuple[socket.socket, socket.socket]:
        """Two ends."""
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        """Of the end; -1 when it is closed."""
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def send(self, parts: Sequence[Any]) -> None:
        """Send a message, whose parts are bytes or buffers of them; wait while the other end takes none.
        ``OSError`` when there is nobody any more."""
        for packet in self.packets(parts):
            # Code may have restored what SIGPIPE does by itself.
            self._end.send(packet, socket.MSG_NOSIGNAL)

    def packets(self, parts: Sequence[Any]) -> Iterator[bytes]:
        """What a message is sent as."""
        sizes = [memoryview(part).nbytes for part in parts]
        whole = b"".join([struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes), *parts])
        number = os.getpid() << 32 | next(self._numbers) & 0xFFFFFFFF
        if len(whole) <= _LARGEST_PACKET:
            yield _HEAD.pack(number, True) + whole
            return
        view = memoryview(whole)
        for begin in range(0, len(view), _LARGEST_PACKET):
            is_last = begin + _LARGEST_PACKET >= len(view)
            yield _HEAD.pack(number, is_last) + view[begin : begin + _LARGEST_PACKET]

    def send_at_once(self, packet: bytes) -> None:
        """Send one of :meth:`packets`; ``BlockingIOError`` when the other end has to take others first."""
        self._end.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def receive(self) -> list[bytes]:
        """The parts of the next message; ``BlockingIOError`` when there is none yet, ``ConnectionError`` when there is
        nobody any more."""
        while True:
            packet = self._end.recv(_HEAD.size + _LARGEST_PACKET, socket.MSG_DONTWAIT)
            if not packet:
                raise ConnectionError("the other end is closed")
            number, is_last = _HEAD.unpack_from(packet)
            if not is_last:
                self._begun.setdefault(number, []).append(packet[_HEAD.size :])
            elif number in self._begun:
                return _parts(b"".join([*self._begun.pop(number), packet[_HEAD.size :]]), 0)
            else:
                return _parts(packet, _HEAD.size)


def _parts(whole: bytes, begin: int) -> list[bytes]:
    (count,) = struct.unpack_from("<I", whole, begin)
    parts = []
    place = begin + 4 + 8 * count
    for size in struct.unpack_from(f"<{count}Q", whole, begin + 4):
        parts.append(whole[place : place + size])
        place += size
    return parts
