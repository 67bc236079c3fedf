"""The channel that a kernel's outputs come by. What is printed faster than it is recorded does not fill the memory."""

from __future__ import annotations

import hmac
from collections import deque
from queue import Empty
from typing import Any

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import DELIM

MOST_WAITING_BYTES = 32 << 20
"""Of messages that were received and not yet processed. Printed text beyond it is left out, and a line says so; other
outputs are kept, as the notebook will hold them anyway."""
_MOST_SEPARATE = 1_000
_MOST_SEPARATE_BYTES = 8 << 20
"""From so many waiting messages on, or bytes of them, printed text is put together before it is processed: a message
costs far more to process than to receive."""
_LARGEST_PART = 1 << 20
"""Characters that are put together. While a message is processed nothing is received, and ZeroMQ's own queue grows."""
_AT_ONCE = 1_000
"""Messages that are received before one is processed."""


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


class OutputChannel(AsyncZMQSocketChannel):
    """Receives as soon as anybody asks for one message all that have come, so that none is lost to a full queue of
    ZeroMQ's (the cell's end among them) and the bytes that wait can be counted."""

    def __init__(self, socket: Any, session: Any, loop: Any = None) -> None:
        super().__init__(socket, session, loop)
        self._receiver: zmq.Socket[bytes] = zmq.Socket(shadow=socket)
        self._waiting: deque[list[bytes] | _Printed] = deque()
        self._bytes = 0

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """The next message; ``queue.Empty`` when none comes within ``timeout`` seconds."""
        self._receive()
        if not self._waiting:
            assert self.socket is not None
            await self.socket.poll(None if timeout is None else int(timeout * 1000))
            self._receive()
        if not self._waiting:
            raise Empty
        first = self._waiting.popleft()
        if isinstance(first, _Printed):
            self._bytes -= first.size
            return first.message()
        self._bytes -= sum(map(len, first))
        _, message = self.session.feed_identities(first)
        return self.session.deserialize(message)

    def _receive(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                self._take(self._receiver.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return

    def _take(self, frames: list[bytes]) -> None:
        crowded = len(self._waiting) >= _MOST_SEPARATE or self._bytes >= _MOST_SEPARATE_BYTES
        if not (crowded and self._join(frames)):
            self._waiting.append(frames)
            self._bytes += sum(map(len, frames))

    def _join(self, frames: list[bytes]) -> bool:
        """Put printed text to what was printed before it; whether the message is one of that kind."""
        signature, *parts = frames[frames.index(DELIM) + 1 :]
        if len(parts) < 4 or b"stream" not in parts[0]:
            return False
        if self.session.auth is not None and not hmac.compare_digest(signature, self.session.sign(parts[:4])):
            return False
        header, parent, _, content = map(self.session.unpack, parts[:4])
        if header["msg_type"] != "stream":
            return False
        name, text = content["name"], content["text"]
        last = self._waiting[-1]
        full = self._bytes + len(text) > MOST_WAITING_BYTES
        if (
            not isinstance(last, _Printed)
            or (last.name, last.parent.get("msg_id")) != (name, parent.get("msg_id"))
            or (last.size > _LARGEST_PART and not full)
            or (last.left_out and not full)
        ):
            last = _Printed(header, parent, name)
            self._waiting.append(last)
        if full:
            last.left_out += len(text)
        else:
            last.parts.append(text)
            last.size += len(text)
            self._bytes += len(text)
        return True
