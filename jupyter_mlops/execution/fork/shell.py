"""ipykernel in two steps: an IPython shell that executes cells with no channel and no thread, and an ordinary kernel as
soon as it has been given channels. It needs nothing but ipykernel."""

from __future__ import annotations

import atexit
import base64
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread, OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelbase import Kernel
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from tornado.platform import asyncio  # noqa: F401 - the first loop would import it, in each child
from traitlets import Type
from zmq.eventloop.zmqstream import ZMQStream

from jupyter_mlops.execution.fork.safety import children

_LINGER_MS = 1000
"""As ipykernel has it."""
_READ_SECONDS = 1.0


class Memo(Session):
    """A session that keeps what it is to send."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[dict[str, Any]] = []

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, *_: Any, **more: Any) -> Any:
        if isinstance(msg_or_type, dict):
            message = dict(msg_or_type)
        else:
            header, metadata = more.get("header"), more.get("metadata")
            message = self.msg(msg_or_type, content=content, parent=parent, header=header, metadata=metadata)
        buffers = more.get("buffers") or message.get("buffers") or ()
        message["buffers"] = [base64.b64encode(bytes(buffer)).decode() for buffer in buffers]
        message["channel"] = "shell" if stream is None else "iopub"
        # As it is now: what it was made of may change.
        self.sent.append(json.loads(json.dumps(message, default=json_default)))
        return message

    def taken(self) -> list[dict[str, Any]]:
        """What was sent since it was last asked."""
        taken, self.sent = self.sent, []
        return taken


class NoThread(IOPubThread):  # type: ignore[misc]
    """Stands where the thread of outputs is, while there is to be none."""

    def __init__(self) -> None:
        self.thread = threading.Thread()
        self.io_loop: Any = self

    def schedule(self, f: Any) -> None:
        f()

    def call_later(self, *_: Any) -> None:
        """Nothing: what was printed is sent when the cell ends."""

    @property
    def closed(self) -> bool:
        return False


class Stream(OutStream):  # type: ignore[misc]
    """Standard output or error: the same object before the fork and behind it, as code may have kept it."""

    is_heard = True
    """Whether anybody may listen."""

    def __init__(self, session: Session, pub_thread: IOPubThread, name: str) -> None:
        super().__init__(session, pub_thread, name, watchfd=False)
        self._number = 1 if name == "stdout" else 2

    def watch(self) -> None:
        """Take what is written to the file descriptor itself, by a thread."""
        reading, writing = os.pipe()
        self._original_stdstream_fd = self._number
        self._original_stdstream_copy = os.dup(self._number)
        os.dup2(writing, self._number)
        os.close(writing)
        self._fid: Any = reading
        self._exc, self._should_watch = None, True
        self.watch_fd_thread = threading.Thread(target=self._watch_pipe_fd, daemon=True)
        self.watch_fd_thread.start()

    def unwatch(self) -> None:
        """Take the rest and end the thread."""
        # This closes the last writing end, unless a process that was started holds it too; then a thread is left over,
        # which is found.
        os.dup2(self._original_stdstream_copy, self._number)
        self.watch_fd_thread.join(_READ_SECONDS)
        if not self.watch_fd_thread.is_alive():
            os.close(self._fid)
            os.close(self._original_stdstream_copy)
        del self._original_stdstream_copy
        self._fid, self._should_watch = None, False

    def flush(self) -> None:
        if self.is_heard:
            super().flush()

    def connect(self, session: Session, pub_thread: IOPubThread) -> None:
        self.session, self.pub_thread, self._io_loop = session, pub_thread, pub_thread.io_loop
        self._master_pid = os.getpid()
        self._flush_pending = False


class TemplateKernel(IPythonKernel):  # type: ignore[misc]
    """A kernel that is given its channels after it has executed cells."""

    _supports_kernel_subshells = False
    parent_thread = threading.main_thread()
    """What is asked of the thread of the shell's channel, which there is not: where cells are awaited."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.shell_channel_thread: Any = self
        run_cell = type(self.shell).run_cell_async
        # ipykernel asks for it at each cell.
        run_cell.__signature__ = inspect.signature(run_cell)

    def start(self) -> None:
        self.shell.exit_now = False
        self.shell_channel_thread = None
        # Not as Python's kernels do, which are made ready for a debugger.
        Kernel.start(self)
        self.shell_channel_thread = self

    def connect(self, shell: ZMQStream, control: ZMQStream, session: Session, iopub: IOPubThread) -> None:
        """Take channels."""
        self.shell_stream, self.control_stream = shell, control
        self.session, self.iopub_thread, self.iopub_socket = session, iopub, iopub.background_socket
        for publisher in self.shell.displayhook, self.shell.display_pub:
            publisher.session, publisher.pub_socket = session, self.iopub_socket

    before_cells: Callable[[], None] | None = None
    """Called once, when the first cell comes by a channel."""

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        if self.before_cells is not None and not parent["content"].get("silent"):
            self.before_cells()
            self.before_cells = None
        await super().execute_request(stream, ident, parent)

    def _process_children(self) -> Any:
        # Usually there are none, which psutil finds out by looking at all processes.
        return super()._process_children() if children() else []

    def _abort_queues(self, *arguments: Any, **options: Any) -> None:
        # Without channels nothing is queued.
        if self.shell_stream is not None:
            super()._abort_queues(*arguments, **options)

    async def execute(self, source: str) -> list[dict[str, Any]]:
        """Execute a cell before there are channels: the messages that this gives."""
        memo: Any = self.session
        content = {"code": source, "silent": False, "store_history": True, "stop_on_error": True}
        request = memo.msg("execute_request", content={**content, "user_expressions": {}, "allow_stdin": False})
        streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, Stream)]
        for stream in streams:
            stream.watch()
        self.set_parent([], request)
        self._publish_status("busy", "shell")
        self.pre_handler_hook()
        try:
            await self.execute_request(None, [], request)
        finally:
            self.post_handler_hook()
            for stream in streams:
                stream.unwatch()
        sys.stdout.flush()
        sys.stderr.flush()
        self._publish_status("idle", "shell")
        taken: list[dict[str, Any]] = memo.taken()
        return taken


class TemplateApp(kernelapp.IPKernelApp):  # type: ignore[misc]
    """ipykernel's application: all but the channels, and these when the process has been forked."""

    kernel_class: Any = Type(TemplateKernel, klass="ipykernel.kernelbase.Kernel")
    outstream_class: Any = None
    session: Any
    welcomes = hasattr(IOPubThread, "_send_welcome_message")
    """Whether who listens to outputs is told so."""

    def begin(self, options: list[str]) -> None:
        super(kernelapp.IPKernelApp, self).initialize(options)
        # It would make what it does not tell.
        self.log.setLevel(self.log_level)
        memo = Memo(parent=self)
        self.iopub_thread = self.iopub_socket = muted = NoThread()
        self.init_pdb()
        sys.stdout = Stream(memo, muted, "stdout")
        sys.stderr = Stream(memo, muted, "stderr")
        # Not with the session of the channels.
        own, self.session = self.session, memo
        self.init_io()
        self.session = own
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
        self.displayhook.get_execution_count = lambda: self.kernel.execution_count
        self.init_path()
        self.init_shell()
        self.init_gui_pylab()
        self.init_extensions()
        self.init_code()
        # What shows values is made when the first is shown: here, once for all children.
        self.shell.user_expressions({"": "''"})
        sys.stdout.flush()
        sys.stderr.flush()
        memo.taken()

    def configure_tornado_logger(self) -> None:
        """Nothing: it was done once for all children."""

    def go_on(self, connection_file: str) -> None:
        """Open the channels that the connection file names, in a process that was forked."""
        self.connection_file = connection_file
        self.load_connection_info(json.loads(Path(connection_file).read_bytes()))
        self.session.pid = os.getpid()
        self.init_sockets()
        for stream in sys.stdout, sys.stderr:
            if isinstance(stream, Stream):
                stream.connect(self.session, self.iopub_thread)
                stream.watch()
        self.displayhook.session, self.displayhook.pub_socket = self.session, self.iopub_socket
        shell, control = ZMQStream(self.shell_socket), ZMQStream(self.control_socket)
        self.kernel.connect(shell, control, self.session, self.iopub_thread)

    def init_sockets(self) -> None:
        """Those that a runner has a use for: it gives no input and does not debug, and whether the process lives the
        template tells. The main thread serves the control channel, too."""
        self.context = zmq.Context()
        atexit.register(self.close)
        for channel in "shell", "control":
            socket = self.context.socket(zmq.ROUTER)
            socket.linger = _LINGER_MS
            port = self._bind_socket(socket, getattr(self, f"{channel}_port"))
            setattr(self, f"{channel}_socket", socket)
            setattr(self, f"{channel}_port", port)
        self.init_iopub(self.context)

    @property
    def is_asked_to_end(self) -> bool:
        return self.kernel._shutdown_message is not None

    def leave(self) -> None:
        """Do not close at the end what nobody needs any more: the channels, as who has asked for the end listens no
        more, and the history, which is in memory. Nor wait for outputs to be sent, or make the aliases of a shell that
        is reset."""
        shell = self.kernel.shell
        self._history = history = shell.history_manager
        history.end_session = history.close = lambda: None
        if hasattr(history, "_finalizer"):
            history._finalizer.detach()
        aliases = shell.alias_manager
        aliases.clear_aliases = aliases.init_aliases = lambda: None
        Stream.is_heard = False
        atexit.unregister(self.close)
        atexit.unregister(self.iopub_thread.stop)
