"""How a runner speaks with a forked kernel: a notebook client's side of the wires that the kernel was given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from typing import Any

from jupyter_client.session import Session

from jupyter_mlops.execution.fork.message import read_message
from jupyter_mlops.execution.fork.wire import Wire
from jupyter_mlops.recording.iopub import Outputs

_MANY = 50
"""So many outputs that have come at once are as many as the system keeps: the kernel may be waiting."""


class WireClient:
    """What a notebook client asks of a client of Jupyter's, which takes longer to make than all that is asked of it."""

    def __init__(
        self, session: Session, requests: socket.socket, outputs: socket.socket, is_alive: Callable[[], bool]
    ) -> None:
        self.session = session
        self.shell_channel = RequestWire(Wire(requests), session)
        self.iopub_channel = OutputWire(Wire(outputs), session)
        self.is_alive = is_alive

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, str] | None = None,
        allow_stdin: bool = False,
        stop_on_error: bool = True,
    ) -> str:
        """Ask for the code to be executed: the id of the request."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": user_expressions or {},
            "allow_stdin": allow_stdin,
            "stop_on_error": stop_on_error,
        }
        return self._ask("execute_request", content)

    def kernel_info(self) -> str:
        """Ask what it is: the id of the request."""
        return self._ask("kernel_info_request", {})

    def _ask(self, kind: str, content: dict[str, Any]) -> str:
        message = self.session.msg(kind, content)
        self.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def stop_channels(self) -> None:
        self.shell_channel.close()
        self.iopub_channel.close()


class RequestWire:
    """Sends requests, and receives what they are replied to."""

    def __init__(self, wire: Wire, session: Session) -> None:
        self._wire, self._session = wire, session
        self._unsent: deque[bytes] = deque()
        """Packets that the kernel, which executes a cell, has not taken yet."""
        self._is_over = False

    def send(self, message: Any) -> None:
        """Send a message, without waiting."""
        sender: Any = self
        self._session.send(sender, message)

    def send_multipart(self, parts: Sequence[Any], *_: Any, **__: Any) -> None:
        self._unsent.extend(self._wire.packets(parts))
        self._send_unsent()

    def _send_unsent(self) -> None:
        # A kernel that is gone is noticed by its process.
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self._unsent:
                self._wire.send_at_once(self._unsent[0])
                self._unsent.popleft()

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """The next reply; ``queue.Empty`` when none comes within ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while (reply := self._reply()) is None:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                raise Empty
            await self._news(loop, left)
        return reply

    def _reply(self) -> dict[str, Any] | None:
        if self._is_over:
            return None
        try:
            return read_message(self._wire.receive())
        except BlockingIOError:
            return None
        except ConnectionError:
            self._is_over = True
            return None

    async def _news(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        """Wait for a reply, and send what can be sent meanwhile."""
        came, descriptor = loop.create_future(), self._wire.fileno()
        if not self._is_over:
            loop.add_reader(descriptor, _done, came)
            if self._unsent:
                loop.add_writer(descriptor, self._continue, loop)
        try:
            await asyncio.wait((came,), timeout=timeout)
        finally:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)

    def _continue(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send_unsent()
        if not self._unsent:
            loop.remove_writer(self._wire.fileno())

    def close(self) -> None:
        """Hear no more."""
        self._wire.close()

    stop = close


class OutputWire(Outputs):
    """Receives outputs, with a thread only where there are very many: others wait in the system's buffer."""

    def __init__(self, wire: Wire, session: Session) -> None:
        super().__init__()
        self._wire, self.session = wire, session

    def _next(self) -> Sequence[bytes] | None:
        if self._is_over:
            return None
        try:
            return self._wire.receive()
        except BlockingIOError:
            return None
        except ConnectionError:
            # Whether the kernel is gone, its process tells.
            self._is_over = True
            return None

    def _read(self, parts: list[bytes]) -> dict[str, Any]:
        return read_message(parts)

    def _descriptor(self) -> int:
        return self._wire.fileno()

    def _receive(self) -> bool:
        before = len(self._waiting)
        more = super()._receive()
        if len(self._waiting) - before >= _MANY and self._thread.ident is None:
            self.start()
        return more

    async def _answered(self, asking: asyncio.Future[None], timeout: float | None) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._wire.fileno()
        is_watched = self._thread.ident is None and not self._is_over
        if is_watched:
            loop.add_reader(descriptor, self._look)
        try:
            await super()._answered(asking, timeout)
        finally:
            if is_watched:
                loop.remove_reader(descriptor)

    def _look(self) -> None:
        with self._lock:
            self._receive()
            if self._is_over or self._thread.ident is not None:
                asyncio.get_running_loop().remove_reader(self._wire.fileno())

    def close(self) -> None:
        super().close()
        self._wire.close()

    stop = close


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
