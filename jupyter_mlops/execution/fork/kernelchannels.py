"""What a forked kernel has in place of ipykernel's channels: a wire for requests and their replies, and one for its
outputs. It needs nothing but ipykernel."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread, OutStream
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from tornado.ioloop import IOLoop

from jupyter_mlops.execution.fork.message import DELIMITER, read_message
from jupyter_mlops.execution.fork.wire import Wire

_SAID = ("stream", "error", "execute_reply")
"""What is said of code."""
_READ_SECONDS = 1.0
_READ_BYTES = 1 << 16
"""As many as a pipe has room for."""


class KernelSession(Session):
    """A session that does not fail to say what code has printed or how it ended for what no encoding has, as halves of
    characters: whoever waits for the end of the cell would wait for ever. Of what code shows itself, it is told."""

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *arguments: Any, **options: Any) -> Any:
        try:
            return self._send(stream, msg_or_type, content, *arguments, **options)
        except UnicodeEncodeError:
            message = msg_or_type if isinstance(msg_or_type, dict) else {"msg_type": msg_or_type, "content": content}
            if message["msg_type"] not in _SAID:
                raise
            content = json.dumps(message["content"], default=json_default, ensure_ascii=False)
            replaced = json.loads(content.encode("utf-8", "replace"))
            if isinstance(msg_or_type, dict):
                msg_or_type = {**msg_or_type, "content": replaced}
            return self._send(stream, msg_or_type, replaced, *arguments, **options)

    def _send(self, *arguments: Any, **options: Any) -> Any:
        return super().send(*arguments, **options)


class WireSession(KernelSession):
    """A session whose messages come by a wire."""

    def deserialize(self, msg_list: list[Any], content: bool = True, copy: bool = True) -> dict[str, Any]:
        if not content:
            return dict(super().deserialize(msg_list, content, copy))
        return read_message([DELIMITER, *(part if copy else part.bytes for part in msg_list)])


class Requests:
    """Stands where the stream of the shell's channel is. Nothing comes before it is opened."""

    _wire: Wire

    def __init__(self, at_end: Callable[[], Any]) -> None:
        """``at_end`` is called, and may be asynchronous, when nobody speaks with this kernel any more."""
        self._at_end = at_end
        self._callback: Callable[[list[zmq.Frame]], Any] = lambda _: None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._is_over = False
        self.io_loop = IOLoop.current()

    def on_recv(self, callback: Callable[[list[zmq.Frame]], Any], copy: bool = True) -> None:  # noqa: ARG002 - its own
        """Have the parts of each request given to ``callback``, which may be asynchronous."""
        self._callback = callback

    def open(self, wire: Wire) -> None:
        self._wire = wire
        self.io_loop.add_handler(wire.fileno(), self._take_next, IOLoop.READ)

    def flush(self, flag: int = zmq.POLLIN | zmq.POLLOUT, limit: int | None = None) -> int:
        """Take what has come, and say how many requests: event loops of user interfaces ask for that."""
        taken = 0
        while flag & zmq.POLLIN and (limit is None or taken < limit) and self._take():
            taken += 1
        return taken

    def getsockopt(self, _: int) -> int:
        """The only option that is asked for, ``FD``."""
        return self._wire.fileno()

    def send_multipart(self, parts: Sequence[Any], *_: Any, **__: Any) -> None:
        with contextlib.suppress(OSError):  # nobody waits for a reply any more
            self._wire.send(parts)

    def _take_next(self, *_: int) -> None:
        self._take()

    def _take(self) -> bool:
        """Begin with the next request, if there is one."""
        if self._is_over:
            return False
        try:
            parts = self._wire.receive()
        except BlockingIOError:
            return False
        except OSError:
            self._is_over = True
            self.io_loop.remove_handler(self._wire.fileno())
            self._begin(self._at_end())
            return False
        self._begin(self._callback([zmq.Frame(part) for part in parts]))
        return True

    def _begin(self, awaitable: Any) -> None:
        if awaitable is not None:
            task = asyncio.ensure_future(awaitable)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class NoThread(IOPubThread):  # type: ignore[misc]
    """Stands where the thread of outputs is: whoever has an output sends it."""

    def __init__(self) -> None:
        self.thread = threading.Thread()
        self.io_loop: Any = self

    def schedule(self, f: Callable[[], None]) -> None:
        f()

    def call_later(self, *_: Any) -> None:
        """Nothing: what was printed is sent when the cell ends, and by :class:`Watch`."""

    @property
    def closed(self) -> bool:
        return False


class Outputs(NoThread):
    """The same, and the socket of outputs as well. Nobody listens before it is opened."""

    _wire: Wire | None = None

    def open(self, wire: Wire) -> None:
        self._wire = wire

    def send_multipart(self, parts: Sequence[Any], *_: Any, **__: Any) -> None:
        if self._wire is not None:
            with contextlib.suppress(OSError):  # nobody listens any more
                self._wire.send(parts)


class Stream(OutStream):  # type: ignore[misc]
    """Standard output or error: the same object before the fork and behind it, as code may have kept it."""

    is_heard = True
    """Whether anybody may listen."""
    _turn = threading.RLock()

    def __init__(self, session: Session, pub_thread: IOPubThread, name: str) -> None:
        super().__init__(session, pub_thread, name, watchfd=False)
        self._number = 1 if name == "stdout" else 2

    def divert(self) -> int:
        """Have what is written to the file descriptor itself go into a pipe: its other end."""
        reading, writing = os.pipe()
        self._original_stdstream_fd = self._number
        self._original_stdstream_copy = os.dup(self._number)
        os.dup2(writing, self._number)
        os.close(writing)
        os.set_blocking(reading, False)
        return reading

    def restore(self) -> None:
        """Undo that; this closes the last writing end, unless a process that was started holds it, too."""
        os.dup2(self._original_stdstream_copy, self._number)

    def take(self, written: bytes, text: str) -> None:
        """Bytes that came by the pipe, and what they say."""
        with contextlib.suppress(OSError, ValueError):  # code has closed it
            self.write(text)
            os.write(self._original_stdstream_copy, written)

    def forget(self) -> None:
        """Close what was kept to restore the descriptor."""
        os.close(self._original_stdstream_copy)
        del self._original_stdstream_copy

    def flush(self) -> None:
        if self.is_heard:
            self._flush()

    def _flush(self) -> None:
        if os.getpid() != self._master_pid:
            # Another thread of the process that this one was forked off may have had the turn.
            super()._flush()
            return
        # Or a thread would say later what it has taken before.
        with self._turn:
            super()._flush()

    def connect(self, session: Session, pub_thread: IOPubThread) -> None:
        self.session, self.pub_thread, self._io_loop = session, pub_thread, pub_thread.io_loop
        self._flush_pending = False

    def be_of_this_process(self) -> None:
        """Send from here, and not from processes that are forked off this one."""
        self._master_pid = os.getpid()


class Watch(threading.Thread):
    """Takes what is written to the file descriptors of streams themselves, and, where it ``flushes``, has sent from
    time to time what was printed.

    A subclass, since ipykernel 6 has all that a thread with a function prints belong to the cell that was the last when
    it was started.
    """

    def __init__(self, streams: Iterable[Stream], *, flushes: bool) -> None:
        super().__init__(daemon=True)
        self._streams = {stream.divert(): stream for stream in streams}
        self._decoders = {reading: codecs.getincrementaldecoder("utf-8")("replace") for reading in self._streams}
        self._flushes = flushes
        self._lock = threading.Lock()
        self.start()

    def run(self) -> None:
        poll = select.poll()
        for reading in self._streams:
            poll.register(reading, select.POLLIN)
        flushed, left = time.monotonic(), len(self._streams)
        while left:
            for reading, _ in poll.poll(OutStream.flush_interval * 1000 if self._flushes else None):
                with self._lock:
                    is_over = self._take(reading)
                if is_over:
                    poll.unregister(reading)
                    left -= 1
            if self._flushes and time.monotonic() - flushed >= OutStream.flush_interval:
                flushed = time.monotonic()
                for stream in self._streams.values():
                    # A lock that is held when code forks, the new process waits for without end.
                    if stream._flush_pending:
                        stream.flush()

    def _take(self, reading: int) -> bool:
        """Take what was written; whether that was the last."""
        try:
            written = os.read(reading, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # code has closed it
            return True
        self._streams[reading].take(written, self._decoders[reading].decode(written, final=not written))
        return not written

    def settle(self) -> None:
        """Take what was written before. A pipe has room for no more than is read at once."""
        with self._lock:
            for reading in self._streams:
                self._take(reading)

    def end(self) -> None:
        """Take the rest and end the thread, unless a process that was started goes on writing: a thread that is left
        over is found."""
        for stream in self._streams.values():
            stream.restore()
        self.join(_READ_SECONDS)
        for reading, stream in self._streams.items():
            if not self.is_alive():
                os.close(reading)
                stream.forget()
