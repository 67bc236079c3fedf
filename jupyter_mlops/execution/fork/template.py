"""The process that points of a sweep are forked off: an IPython shell without channels that has executed the prefix.

It is run by the kernel's own Python, which need not have jupyter_mlops, with the arguments FOLDER and STATUS_FD and
ipykernel's options. The first line of standard input says what to execute (``cells``: index, source and whether it may
fail; ``injected``: index of the cell of parameters; ``swept``: their names; ``equal``: whether random states that were
not seeded stay equal; ``probe``: an expression for a text that tells of the interpreter, ``modules``: for a function
that tells of all but so many imported modules; ``threads``: the variables that tell a child how many cores it may use;
``about``: whatever others are to be told). STATUS_FD is told ``{"begun": index}`` for each cell, and then
``{"unsafe": why}`` or ``{"ready": pid}``.

A connection to FOLDER/fork.sock is for one line. ``{"tell": true}`` is answered by ``about``, by what the expressions
gave (``interpreter``, ``files``), the ``messages`` that each cell gave, what kernels say of their ``language``.

A line with ``environment``, ``log``, ``code`` and ``source`` makes a child. With it come the descriptors of
the ends of two wires, for requests to the kernel and its replies and for its outputs, and of a file. It is answered by
``{"pid": number}``, and at the child's end by its ``status`` as ``waitpid`` has it and whether it has ``left``
processes behind, or another child may have. The end of requests ends the child, which then writes to the file what
modules it has imported itself. Whoever closes the connection before has it killed.

The end of standard input ends all.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import select
import selectors
import signal
import socket
import sys
import threading
from _io import _IOBase
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from jupyter_mlops.execution.fork.hugepages import join_pages
from jupyter_mlops.execution.fork.safety import Seeds, Surroundings, Unsafe, children

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None).prctl
_READ_BYTES, _DESCRIPTORS = 1 << 16, 3


def main() -> None:
    """Be a template, or in a child what it was forked for."""
    folder, status = Path(sys.argv[1]), int(sys.argv[2])
    _leave_out_debugger()
    from jupyter_mlops.execution.fork.shell import TemplateApp

    # The cells find the jupyter_mlops of their own environment, or none.
    for name in [name for name in sys.modules if name.partition(".")[0] == "jupyter_mlops"]:
        del sys.modules[name]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # Cells find nothing to read, as in a kernel.
    control = os.dup(0)
    _replace(0, os.open(os.devnull, os.O_RDONLY))
    with open(control, "rb", closefd=False) as lines:
        work = json.loads(lines.readline())
    app: Any = TemplateApp.instance()
    app.begin([*sys.argv[3:], "--HistoryManager.hist_file=:memory:"], folder / "kernel.json")
    interpreter = eval(work["probe"], {})  # what a runner asks of a kernel
    files = eval(work["modules"], {})
    seeds, surroundings = Seeds(), Surroundings()
    try:
        messages = loop.run_until_complete(_execute(app, work, control, status))
        # What is open may only wait for this.
        gc.collect()
        surroundings.check(loop)
        seeds.hold()
        app.connect()
        _close(loop)
    except Unsafe as error:
        _tell(status, {"unsafe": str(error)})
        os._exit(0)
    use_cores = _cores(work["threads"])
    known = len(sys.modules)
    executed = {
        "about": work["about"],
        "interpreter": interpreter,
        "files": files(0),
        "messages": messages,
        "language": app.kernel.language_info,
    }
    asked = Server(folder, control, status, executed).serve()
    if asked is None:
        # What was registered for the end is for the children's.
        os._exit(0)
    surroundings.reopen()
    requests, outputs, told = asked["descriptors"]
    _become(app, loop, seeds, asked, work)
    use_cores()
    app.open(socket.socket(fileno=requests), socket.socket(fileno=outputs))
    shared = dict(app.kernel.shell.user_ns)
    try:
        app.start()
    finally:
        if app.is_asked_to_end:
            with contextlib.suppress(Exception):  # cells may have changed anything
                os.write(told, files(known).encode())
            app.leave()
        _finish(app.kernel.shell.user_ns, shared)


def _leave_out_debugger() -> None:
    """Have ipykernel find no debugger, which nobody could speak with: it is a fifth of the memory of a kernel, of which
    each fork copies the tables. Code may import it all the same, and break where it would."""
    if "debugpy" in sys.modules:
        # Whoever debugs this process has imported it.
        return
    blocked: dict[str, Any] = {"debugpy": None}
    sys.modules.update(blocked)
    with contextlib.suppress(ImportError):
        importlib.import_module("ipykernel.debugger")
    del sys.modules["debugpy"]
    if importlib.util.find_spec("debugpy") is not None:
        sys.breakpointhook = _break


def _break(*arguments: Any, **options: Any) -> Any:
    # It puts a hook of its own in the place of this one, which stops nowhere as long as nobody is connected.
    importlib.import_module("debugpy.server.api")
    hook = sys.__breakpointhook__ if sys.breakpointhook is _break else sys.breakpointhook
    return hook(*arguments, **options)


async def _execute(app: Any, work: dict[str, Any], control: int, status: int) -> dict[str, Any]:
    """Execute the prefix; the messages that each cell gave, by its index. ``Unsafe`` when a cell fails."""
    namespace = app.kernel.shell.user_ns
    messages: dict[str, Any] = {}
    is_injected = False
    for index, source, may_fail in work["cells"]:
        if select.select([control], [], [], 0)[0]:
            # Nobody waits for it any more.
            os.killpg(0, signal.SIGKILL)
        _tell(status, {"begun": index})
        messages[str(index)] = given = await app.kernel.execute(source)
        reply = next(message["content"] for message in given if message["channel"] == "shell")
        if reply["status"] != "ok" and not may_fail:
            raise Unsafe(f"cell {index + 1} fails before the points part: {reply['ename']}: {reply['evalue']}")
        if app.kernel.shell.exit_now:
            raise Unsafe(f"cell {index + 1} ends the notebook")
        if is_injected and (bound := [name for name in work["swept"] if name in namespace]):
            raise Unsafe(f"cell {index + 1} gives {bound[0]!r} a value")
        if app.kernel.eventloop is not None:
            raise Unsafe(f"cell {index + 1} starts the event loop of a user interface")
        if index == work["injected"]:
            is_injected = True
            for name in work["swept"]:
                # What reads it now, though the code does not say so, shall not find the default.
                namespace.pop(name, None)
    return messages


class Server:
    """Forks children for those who ask, and tells them how they ended."""

    def __init__(self, folder: Path, control: int, status: int, executed: dict[str, Any]) -> None:
        self._address = str(folder / "fork.sock")
        self._executed = executed
        self._control, self._status = control, status
        self._living: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._address)
        self._listener.listen()
        for source in self._listener, control, self._woken:
            self._selector.register(source, selectors.EVENT_READ)
        # What a child leaves behind becomes a child of this process, so that nobody has to look for it elsewhere.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        # What there is now stays where it is, in memory that children share.
        gc.freeze()
        join_pages()
        _tell(status, {"ready": os.getpid()})

    def serve(self) -> dict[str, Any] | None:
        """Fork a child for each request. In a child, what was asked for; in this process None, when it is to end."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._control:
                    self._end()
                    return None
                if key.fileobj is self._listener:
                    asked = self._accept()
                    if asked is not None:
                        return asked
                elif key.fileobj == self._woken:
                    os.read(self._woken, 4096)
                    self._reap()
                elif self._living.get(key.data) is key.fileobj:
                    # Whoever asked for the child is gone; its end is noticed by its signal, perhaps was just before.
                    self._selector.unregister(key.fileobj)
                    _kill_group(key.data)

    def _accept(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        line, descriptors = _request(connection)
        asked: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        pid = self._fork(connection) if "environment" in asked else None
        if pid == 0:
            return {**asked, "descriptors": descriptors}
        for number in descriptors:
            os.close(number)
        if pid is not None:
            _say(connection, {"pid": pid})
            return None
        if "tell" in asked:
            _say(connection, self._executed)
        connection.close()
        return None

    def _fork(self, connection: socket.socket) -> int | None:
        """Fork a child for who has the ``connection``, as ``os.fork`` does; None when that cannot be."""
        try:
            pid = os.fork()
        except OSError:
            # Too many processes, or too little memory: whoever asked starts a kernel by itself, and the others go on.
            return None
        if pid == 0:
            self._leave()
            connection.close()
        else:
            self._living[pid] = connection
            self._selector.register(connection, selectors.EVENT_READ, pid)
        return pid

    def _reap(self) -> None:
        over: dict[int, int] = {}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                over[ended[0]] = ended[1]
        left = len(children()) > len(self._living.keys() - over.keys())
        for pid in self._living.keys() & over.keys():
            connection = self._living.pop(pid)
            with contextlib.suppress(KeyError):
                self._selector.unregister(connection)
            _say(connection, {"status": over[pid], "left": left})
            connection.close()

    def _leave(self) -> None:
        """Have nothing of this any more, in a child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        self._listener.close()
        for connection in self._living.values():
            connection.close()
        for number in self._control, self._status, self._woken, self._wake:
            os.close(number)

    def _end(self) -> None:
        for pid in self._living:
            _kill_group(pid)
        # Whoever made the folder may have been killed.
        folder = Path(self._address).parent
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


def _become(
    app: Any, loop: asyncio.AbstractEventLoop, seeds: Seeds, asked: dict[str, Any], work: dict[str, Any]
) -> None:
    """Make the forked process a kernel of its own."""
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != asked["template"]:
        os._exit(1)
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    _replace(2, log)
    os.environ.update(asked["environment"])
    _reopen(loop)
    shell = app.kernel.shell
    if asked["code"] is not None:
        exec(compile(asked["code"], "<parameters>", "exec"), shell.user_ns)  # as the cell of parameters would
        _remember(shell, asked["source"], work)
    # Not before: what comes until then may draw random numbers, too.
    source = "\n".join(source for _, source, _ in work["cells"])
    app.kernel.before_cells = seeds.restore if work["equal"] else lambda: seeds.renew(shell.user_ns, source)


def _close(loop: Any) -> None:
    """Close the files of the event loop, which code may have kept: each child has its own."""
    loop._selector.close()
    loop._ssock.close()
    loop._csock.close()
    loop._internal_fds -= 1


def _reopen(loop: Any) -> None:
    loop._selector = selectors.DefaultSelector()
    loop._make_self_pipe()


def _remember(shell: Any, source: str, work: dict[str, Any]) -> None:
    """Have the history say what the cell of parameters says at this point."""
    count = 1 + [index for index, _, _ in work["cells"]].index(work["injected"])
    for inputs in shell.history_manager.input_hist_raw, shell.history_manager.input_hist_parsed:
        if count < len(inputs):
            inputs[count] = source
    if f"_i{count}" in shell.user_ns:
        shell.user_ns[f"_i{count}"] = source


def _cores(threads: dict[str, str]) -> Callable[[], Any]:
    """Let numeric libraries that a child imports use the cores that are meant for it, and give what lets those that are
    loaded, which use one here. To look for them takes milliseconds."""
    for name, count in threads.items():
        # Cells may have chosen.
        if os.environ.get(name) == "1":
            os.environ[name] = count
    count = threads["OMP_NUM_THREADS"]
    with contextlib.suppress(ImportError):
        if count != "1" and count.isdecimal():
            from threadpoolctl import ThreadpoolController

            return partial(ThreadpoolController().limit, limits=int(count))
    return lambda: None


def _finish(namespace: dict[str, Any], shared: dict[str, Any]) -> None:
    """End as Python does, but for taking apart all that was there before the fork, which would copy the memory that is
    shared: of that, only what wants to know of its end."""
    cast("Any", threading)._shutdown()
    atexit._run_exitfuncs()
    for name, value in list(namespace.items()):
        if value is not shared.get(name) or hasattr(type(value), "__del__"):
            del namespace[name]
    value = None
    shared.clear()
    gc.collect()
    for found in gc.get_objects():
        # To ask for io.IOBase, an abstract class, takes many times as long.
        if isinstance(found, _IOBase) and not found.closed:
            with contextlib.suppress(Exception):  # as with files that are dropped
                found.flush()
    os._exit(0)


def _request(connection: socket.socket) -> tuple[bytes, list[int]]:
    """What is asked for, and the file descriptors that come with it."""
    line, descriptors = b"", list[int]()
    with contextlib.suppress(ConnectionError):  # who asked is gone
        line, descriptors, *_ = socket.recv_fds(connection, _READ_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        more = line
        while more and not more.endswith(b"\n"):
            more = connection.recv(_READ_BYTES)
            line += more
    return line, descriptors


def _tell(status: int, document: dict[str, Any]) -> None:
    os.write(status, json.dumps(document).encode() + b"\n")


def _say(connection: socket.socket, document: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(document).encode() + b"\n")


def _replace(number: int, by: int) -> None:
    os.dup2(by, number)
    os.close(by)


def _kill_group(pid: int) -> None:
    # One that has not yet made its group is killed alone.
    for kill in os.killpg, os.kill:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
