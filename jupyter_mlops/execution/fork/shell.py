"""ipykernel in two steps: an IPython shell that executes cells with no channel and no thread, and an ordinary kernel as
soon as it has been given channels. It needs nothing but ipykernel."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import importlib.util
import inspect
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipykernel import kernelapp
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelbase import Kernel
from tornado.ioloop import IOLoop
from traitlets import Any as Anything
from traitlets import Type

from jupyter_mlops.execution.fork.kernelchannels import (
    KernelSession,
    NoThread,
    Outputs,
    Requests,
    Stream,
    Watch,
    WireSession,
)
from jupyter_mlops.execution.fork.safety import has_children
from jupyter_mlops.execution.fork.unnamed import unnamed_file
from jupyter_mlops.execution.fork.wire import Wire


class Memo(KernelSession):
    """A session that keeps what it is to send, and what processes that were forked off this one are to send."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._file = unnamed_file("mlops-messages")
        # Whoever writes does so behind the others.
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)

    def _send(self, stream: Any, msg_or_type: Any, content: Any, parent: Any = None, *_: Any, **more: Any) -> Any:
        if os.getpid() != self.pid:
            # As with sessions that send: another process may print, and no more.
            return None
        if isinstance(msg_or_type, dict):
            message = dict(msg_or_type)
        else:
            header, metadata = more.get("header"), more.get("metadata")
            message = self.msg(msg_or_type, content=content, parent=parent, header=header, metadata=metadata)
        buffers = more.get("buffers") or message.get("buffers") or ()
        message["buffers"] = [base64.b64encode(bytes(buffer)).decode() for buffer in buffers]
        message["channel"] = "shell" if stream is None else "iopub"
        # On a line of its own also behind a process that was killed in the middle of one.
        line = memoryview(b"\n%b\n" % self.pack(message))
        while line:
            line = line[self._file.write(line) :]
        return message

    def taken(self) -> list[dict[str, Any]]:
        """What was sent since it was last asked."""
        self._file.seek(0)
        lines = self._file.read().splitlines()
        self._file.truncate(0)
        taken = []
        for line in filter(None, lines):
            with contextlib.suppress(ValueError):
                taken.append(json.loads(line.decode("utf-8", "replace")))
        return taken


class TemplateKernel(IPythonKernel):  # type: ignore[misc]
    """A kernel that is given its channels after it has executed cells, and starts before they are opened."""

    _supports_kernel_subshells = False
    shell_stream = Anything(allow_none=True)
    streams: list[Stream]
    """Standard output and error, which code may have replaced."""
    watch: Watch | None = None
    parent_thread = threading.main_thread()
    """What is asked of the thread of the shell's channel, which there is not: where cells are awaited."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.shell_channel_thread: Any = self
        run_cell = type(self.shell).run_cell_async
        # ipykernel asks for it at each cell.
        run_cell.__signature__ = inspect.signature(run_cell)

    def connect(self, requests: Requests, outputs: Outputs, session: WireSession) -> None:
        """Take channels. There is no other: a runner gives no input and does not debug, it interrupts by a signal, and
        whether the process lives the template tells."""
        self.shell_stream = requests
        self.session, self.iopub_thread, self.iopub_socket = session, outputs, outputs
        for publisher in self.shell.displayhook, self.shell.display_pub:
            publisher.session, publisher.pub_socket = session, outputs
        self.shell.exit_now = False
        self.shell_channel_thread = None
        # Not as Python's kernels do, which are made ready for a debugger.
        Kernel.start(self)
        self.shell_channel_thread = self

    def start(self) -> None:
        """Nothing: it was started once for all children."""

    before_cells: Callable[[], None] | None = None
    """Called once, when the first cell comes by a channel."""

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        if self.before_cells is not None and not parent["content"].get("silent"):
            self.before_cells()
            self.before_cells = None
        await super().execute_request(stream, ident, parent)
        if self.watch is not None:
            # What a cell has written is told before its end.
            self.watch.settle()

    def _publish_status(self, status: str, *arguments: Any, **options: Any) -> None:
        # Nobody waits for it to begin.
        if status != "starting":
            super()._publish_status(status, *arguments, **options)

    def _process_children(self) -> Any:
        # Usually there are none, which psutil finds out by looking at all processes.
        return super()._process_children() if has_children() else []

    def _abort_queues(self, *arguments: Any, **options: Any) -> None:
        # Without channels nothing is queued.
        if self.shell_stream is not None:
            super()._abort_queues(*arguments, **options)

    async def execute(self, source: str) -> list[dict[str, Any]]:
        """Execute a cell before there are channels: the messages that this gives."""
        memo: Any = self.session
        content = {"code": source, "silent": False, "store_history": True, "stop_on_error": True}
        request = memo.msg("execute_request", content={**content, "user_expressions": {}, "allow_stdin": False})
        watch = Watch(self.streams, flushes=False)
        self.set_parent([], request)
        self._publish_status("busy", "shell")
        self.pre_handler_hook()
        try:
            await self.execute_request(None, [], request)
        finally:
            self.post_handler_hook()
            watch.end()
        for stream in self.streams:
            stream.flush()
        self._publish_status("idle", "shell")
        # As a client does: who does not know of this cell says what belongs to another.
        own = request["header"]["msg_id"]
        return [message for message in memo.taken() if message["parent_header"].get("msg_id") == own]


class TemplateApp(kernelapp.IPKernelApp):  # type: ignore[misc]
    """ipykernel's application: all but the channels, and these when the process has been forked."""

    kernel_class: Any = Type(TemplateKernel, klass="ipykernel.kernelbase.Kernel")
    outstream_class: Any = None
    session: Any
    is_asked_to_end = False

    def begin(self, options: list[str], connection_file: Path) -> None:
        """Make the shell. Code may look for a connection file, which nobody can connect by."""
        super(kernelapp.IPKernelApp, self).initialize(options)
        ports = {f"{channel}_port": 0 for channel in ("shell", "iopub", "stdin", "control", "hb")}
        connection_file.write_text(json.dumps({**ports, "ip": "", "transport": "ipc", "key": ""}))
        self.connection_file = str(connection_file)
        launcher = importlib.util.find_spec("ipykernel_launcher")
        sys.argv = [str(launcher and launcher.origin), "-f", self.connection_file, *options]
        # It would make what it does not tell.
        self.log.setLevel(self.log_level)
        memo = Memo(parent=self)
        self.iopub_thread = self.iopub_socket = muted = NoThread()
        self.init_pdb()
        self._streams = [Stream(memo, muted, name) for name in ("stdout", "stderr")]
        sys.stdout, sys.stderr = self._streams
        # Not with the session of the channels.
        self.session = memo
        self.init_io()
        self.session = WireSession(parent=self)
        super().configure_tornado_logger()
        self.init_signal()
        self.kernel = TemplateKernel.instance(
            parent=self,
            session=memo,
            iopub_thread=muted,
            iopub_socket=muted,
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )
        self.kernel.streams = self._streams
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count
        self.init_path()
        self.init_shell()
        self.init_gui_pylab()
        self.init_extensions()
        self.init_code()
        # What shows values is made when the first is shown: here, once for all children.
        self.shell.user_expressions({"": "''"})
        for stream in self._streams:
            stream.flush()
        memo.taken()
        # The first loop imports much, too.
        IOLoop.current()

    def configure_tornado_logger(self) -> None:
        """Nothing: it was done once for all children."""

    def connect(self) -> None:
        """Make the channels, which nothing comes or goes by yet."""
        # Nobody else has the sockets, so nothing is signed.
        self.session.auth = None
        self._requests = Requests(self._end)
        self.iopub_thread = self.iopub_socket = self._outputs = Outputs()
        for stream in self._streams:
            stream.connect(self.session, self._outputs)
        self.displayhook.session, self.displayhook.pub_socket = self.session, self._outputs
        self.kernel.connect(self._requests, self._outputs, self.session)

    def open(self, requests: socket.socket, outputs: socket.socket) -> None:
        """Open the channels, in a process that was forked."""
        self.session.pid = os.getpid()
        self._outputs.open(Wire(outputs))
        for stream in self._streams:
            stream.be_of_this_process()
        self.kernel.watch = Watch(self._streams, flushes=True)
        self._requests.open(Wire(requests))

    async def _end(self) -> None:
        self.is_asked_to_end = True
        if has_children():
            await self.kernel._at_shutdown()
        self.io_loop.stop()

    def leave(self) -> None:
        """Do not close at the end what nobody needs any more: the history, which is in memory. Nor send outputs, as who
        has asked for the end listens no more, or make the names and aliases of a shell that is reset."""
        shell = self.kernel.shell
        self._history = history = shell.history_manager
        history.end_session = history.close = lambda: None
        if hasattr(history, "_finalizer"):
            history._finalizer.detach()
        aliases = shell.alias_manager
        aliases.clear_aliases = aliases.init_aliases = shell.init_user_ns = lambda: None
        Stream.is_heard = False
