"""The channel that a kernel's outputs come by. What comes faster than it is recorded does not fill the memory."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import select
import socket as sockets
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty
from typing import IO, Any

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import DELIM

from jupyter_mlops.recording.streamtext import read_printed

MOST_WAITING_BYTES = 32 << 20
"""Of messages that were received and not yet processed. Printed text beyond it is left out, and a line says so; other
outputs wait in a file, since what they log is recorded however many there are."""
_MOST_SEPARATE = 1_000
_MOST_SEPARATE_BYTES = 8 << 20
"""From so many waiting messages on, or bytes of them, printed text is put together before it is processed: a message
costs far more to process than to receive."""
_LARGEST_PART = 1 << 20
"""Characters that are put together."""
_AT_ONCE = 1_000
"""Messages that are received before one is processed."""
_PAUSE_MS = 1
"""How long the thread that receives leaves the socket to others, between so many, while more come than it takes."""


class _Printed:
    """Consecutive text of one stream of one cell."""

    def __init__(self, header: Any, parent: Any, name: str) -> None:
        self.header, self.parent, self.name = header, parent, name
        self.parts: list[str] = []
        self.size = 0
        self.left_out = 0

    def message(self) -> dict[str, Any]:
        if self.left_out:
            self.parts.append(
                f"\n[{self.left_out:,} characters that were printed faster than they could be recorded were left out]\n"
            )
        return {
            "header": self.header,
            "msg_id": self.header["msg_id"],
            "msg_type": "stream",
            "parent_header": self.parent,
            "metadata": {},
            "content": {"name": self.name, "text": "".join(self.parts)},
            "buffers": [],
        }


@dataclass(frozen=True)
class _Filed:
    """A message that waits in the file: where, and the bytes of its parts."""

    offset: int
    sizes: tuple[int, ...]


class Outputs(ABC):
    """Receives at once whatever comes, also while the notebook is saved or nobody asks for messages, so that none is
    lost to a full queue (the cell's end among them) and the bytes that wait can be counted."""

    session: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lock = threading.Lock()
        """Of the socket and of what waits: who asks for a message receives, too."""
        self._waiting: deque[list[bytes] | _Printed | _Filed] = deque()
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._filed = self._end_of_file = 0
        self._asking: asyncio.Future[None] | None = None
        """Done when a message comes."""
        self._failure: Exception | None = None
        """What ended the receiving."""
        self._is_over = False
        """Whether nothing can come any more."""
        self._stop_received, self._stop = sockets.socketpair()
        self._thread = threading.Thread(target=self._receive_always, name="mlops-outputs", daemon=True)

    @abstractmethod
    def _next(self) -> Sequence[bytes | memoryview] | None:
        """The parts of the next message; None when there is none yet."""

    @abstractmethod
    def _read(self, parts: list[bytes]) -> dict[str, Any]:
        """The message that these are parts of."""

    @abstractmethod
    def _descriptor(self) -> int:
        """The file descriptor by which is seen that something came."""

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def close(self) -> None:
        """Stop receiving. What waits is gone."""
        self._stop.close()
        if self._thread.is_alive():
            self._thread.join()
        self._stop_received.close()
        if self._file is not None:
            self._file.close()

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message; ``queue.Empty`` when none comes within ``timeout`` seconds."""
        with self._lock:
            if self._waiting or not self._thread.is_alive():
                # The thread alone would wait for the interpreter at each part of a message.
                self._receive()
            is_over = bool(self._waiting) or self._failure is not None
            asking = self._asking = None if is_over else asyncio.get_running_loop().create_future()
        if asking is not None:
            await self._answered(asking, timeout)
        with self._lock:
            if not self._waiting:
                raise self._failure or Empty
            first = self._waiting.popleft()
            if isinstance(first, _Printed):
                self._bytes -= first.size
                return first.message()
            if isinstance(first, _Filed):
                first = self._take_from_file(first)
            else:
                self._bytes -= sum(map(len, first))
        return self._read(first)

    async def _answered(self, asking: asyncio.Future[None], timeout: float | None) -> None:
        """Wait for a message to come."""
        await (asking if timeout is None else asyncio.wait((asking,), timeout=timeout))

    def _receive_always(self) -> None:
        """Receive also while others keep whoever asks for messages busy."""
        stopped, news = select.poll(), select.poll()
        for poll in stopped, news:
            poll.register(self._stop_received, select.POLLIN)
        news.register(self._descriptor(), select.POLLIN)
        # What it tells by its descriptor it may tell once: all must be taken that there is.
        more = True
        while not self._is_over and not stopped.poll(_PAUSE_MS if more else 0):
            with self._lock:
                try:
                    more = self._receive()
                except Exception as error:  # noqa: BLE001 - whoever asks is told, who would wait for ever
                    self._failure = error
                    self._answer()
                    return
            if not more:
                news.poll()

    def _receive(self) -> bool:
        """Take what has come, at most :data:`_AT_ONCE` messages; whether there may be more."""
        more = True
        for _ in range(_AT_ONCE):
            parts = self._next()
            if parts is None:
                more = False
                break
            self._take(parts)
        if self._waiting:
            self._answer()
        return more

    def _answer(self) -> None:
        """Wake who asks."""
        if self._asking is not None:
            # Its loop may be closed.
            with contextlib.suppress(RuntimeError):
                self._asking.get_loop().call_soon_threadsafe(_answer, self._asking)
            self._asking = None

    def _take(self, parts: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        crowded = len(self._waiting) >= _MOST_SEPARATE or self._bytes + size >= _MOST_SEPARATE_BYTES
        if crowded and self._join([memoryview(part) for part in parts]):
            return
        whole = list(map(bytes, parts))
        filed = self._put_into_file(whole) if self._bytes + size > MOST_WAITING_BYTES else None
        self._waiting.append(filed or whole)
        self._bytes += 0 if filed else size

    def _join(self, frames: Sequence[memoryview]) -> bool:
        """Put printed text to what was printed before it; whether the message is one of that kind."""
        delimiter = next((place for place, frame in enumerate(frames) if frame == DELIM), len(frames))
        signature, *parts = frames[delimiter + 1 :] or [memoryview(b"")]
        if len(parts) < 4 or b"stream" not in bytes(parts[0]):
            return False
        if self.session.auth is not None and not hmac.compare_digest(signature, self.session.sign(list(parts[:4]))):
            return False
        header, parent = (self.session.unpack(bytes(part)) for part in parts[:2])
        if header["msg_type"] != "stream":
            return False
        kept: list[str] = []
        room, left_out = MOST_WAITING_BYTES - self._bytes, 0
        try:
            name, read = read_printed(parts[3])
            for text in read:
                if len(text) <= room:
                    kept.append(text)
                    room -= len(text)
                else:
                    left_out += len(text)
        except ValueError:
            return False
        for text in kept:
            self._add(_Printed(header, parent, name), text)
        if left_out:
            self._add(_Printed(header, parent, name), "", left_out)
        return True

    def _add(self, printed: _Printed, text: str, left_out: int = 0) -> None:
        last = self._waiting[-1] if self._waiting else None
        if (
            not isinstance(last, _Printed)
            or (last.name, last.parent.get("msg_id")) != (printed.name, printed.parent.get("msg_id"))
            or (last.size > _LARGEST_PART and not left_out)
            or (last.left_out and not left_out)
        ):
            last = printed
            self._waiting.append(last)
        last.left_out += left_out
        last.parts.append(text)
        last.size += len(text)
        self._bytes += len(text)

    def _put_into_file(self, frames: Sequence[bytes]) -> _Filed | None:
        """None when there is no room for it."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
            written = os.pwrite(self._file.fileno(), b"".join(frames), self._end_of_file)
        except OSError:
            return None
        filed = _Filed(self._end_of_file, tuple(map(len, frames)))
        if written < sum(filed.sizes):
            return None
        self._end_of_file += written
        self._filed += 1
        return filed

    def _take_from_file(self, filed: _Filed) -> list[bytes]:
        assert self._file is not None
        frames, offset = [], filed.offset
        for size in filed.sizes:
            frames.append(os.pread(self._file.fileno(), size, offset))
            offset += size
        self._filed -= 1
        if not self._filed:
            self._file.truncate(0)
            self._end_of_file = 0
        return frames


class OutputChannel(Outputs, AsyncZMQSocketChannel):  # type: ignore[misc]
    """The channel of a kernel's outputs in a client of Jupyter's."""

    def __init__(self, socket: Any, session: Any, loop: Any = None) -> None:
        super().__init__(socket, session, loop)
        self._receiver: zmq.Socket[bytes] = zmq.Socket(shadow=socket)

    def _next(self) -> Sequence[memoryview] | None:
        try:
            # Long ones are not copied to be read.
            return [frame.buffer for frame in self._receiver.recv_multipart(zmq.NOBLOCK, copy=False)]
        except zmq.Again:
            return None

    def _read(self, parts: list[bytes]) -> dict[str, Any]:
        _, signed = self.session.feed_identities(parts)
        message: dict[str, Any] = self.session.deserialize(signed)
        return message

    def _descriptor(self) -> int:
        return int(self._receiver.get(zmq.FD))

    def close(self) -> None:
        super().close()
        AsyncZMQSocketChannel.close(self)

    stop = close


def _answer(asking: asyncio.Future[None]) -> None:
    if not asking.done():
        asking.set_result(None)
