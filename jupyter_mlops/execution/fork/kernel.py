"""A kernel that is forked off a template, and the template as those see it that record its children."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_client.session import Session

from jupyter_mlops.core.records import Json
from jupyter_mlops.execution.fork.clientchannels import WireClient
from jupyter_mlops.execution.fork.unnamed import unnamed_file
from jupyter_mlops.execution.fork.wire import Wire
from jupyter_mlops.recording.environment import Interpreter
from jupyter_mlops.recording.kernel import Kernel, Process, Shared, kernel_spec, kernel_specs

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    from jupyter_mlops.recording.companions import Companion
    from jupyter_mlops.recording.task import NotebookTask

SOCKET = "fork.sock"
_LARGEST_TOLD = 16 << 20
"""Bytes of what a kernel tells of its modules."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of a template."""

    key: str
    """Of the tasks that go on from what it has executed."""
    injects: bool
    """Whether the cell of injected parameters is part of that."""
    template: int
    """Its process."""


def fixed(task: NotebookTask) -> dict[str, Json]:
    """The parameters that all points share."""
    return {name: value for name, value in task.parameters.items() if name not in task.swept}


def key_of(task: NotebookTask) -> str:
    """The same for tasks that differ in what is swept only."""
    same = [task.notebook, task.kernel_name, task.cwd, fixed(task), sorted(task.swept)]
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


class Template:
    """A running template, as workers see it."""

    def __init__(self, folder: Path) -> None:
        """Ask the template that listens in ``folder`` what it has executed; ``OSError`` when it is gone."""
        self.folder = folder
        # Not by a file: outputs may show secrets.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / SOCKET))
            connection.sendall(b'{"tell": true}\n')
            with connection.makefile("rb") as reading:
                told = json.loads(reading.read())
        self.about = msgspec.convert(told["about"], About)
        self.messages = _messages(told["messages"])
        self.shared = Shared(
            interpreter=msgspec.json.decode(told["interpreter"], type=Interpreter),
            files=tuple(json.loads(told["files"])),
            language=told["language"],
        )
        self.session = Session()
        """Of those who speak with its children. Nobody else has the sockets, so nothing is signed."""
        self.session.auth = None
        self._specifications: dict[str, tuple[KernelSpec, KernelSpecManager]] = {}

    def specification(self, name: str) -> tuple[KernelSpec, KernelSpecManager]:
        """What the kernel ``name`` is, looked up once."""
        if name not in self._specifications:
            specs = kernel_specs()
            self._specifications[name] = kernel_spec(name, specs), specs
        return self._specifications[name]

    @staticmethod
    def listens(folder: Path) -> bool:
        """Whether children can be forked, or could."""
        return (folder / SOCKET).exists()

    def starter(self, task: NotebookTask) -> Callable[..., Kernel]:
        """What starts the kernel of a task's run, as :class:`Kernel` does: afresh when it is none of this template."""
        if self.about.key != key_of(task):
            return Kernel
        code, source = _injection(task) if self.about.injects else (None, None)

        def start(name: str, **options: Any) -> Kernel:
            try:
                return ForkedKernel(name, template=self, code=code, source=source, **options)
            except TemplateGone:
                return Kernel(name, **options)

        return start


class TemplateGone(Exception):
    """Nothing can be forked any more."""


class ForkedKernel(Kernel):
    """A kernel that has executed the first cells already."""

    def __init__(
        self,
        name: str,
        *,
        template: Template,
        code: str | None,
        source: str | None,
        cwd: Path,
        environment: Mapping[str, str],
        run_id: str,
        log: Path,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._template = template
        self._code, self._source = code, source
        super().__init__(name, cwd=cwd, environment=environment, run_id=run_id, log=log, companions=companions)
        self.replayed, self.shared = template.messages, template.shared
        self.tells_modules = self.ends_at_once = True

    def client(self) -> WireClient:
        return self._client

    def ask_to_end(self, client: Any, *, idle: bool) -> None:  # noqa: ARG002 - its own
        if not idle:
            self.manager.interrupt_kernel()
        # That nobody speaks with it any more has it end.
        self._client.stop_channels()

    def _clean_up(self) -> None:
        self._client.stop_channels()
        if not self._told.closed:
            with self._told:
                self._told.seek(0)
                self.modules = self._told.read(min(os.fstat(self._told.fileno()).st_size, _LARGEST_TOLD))

    def _specification(self) -> tuple[KernelSpec, KernelSpecManager]:
        return self._template.specification(self.name)

    def _may_have_left_processes(self) -> bool:
        return self._forked.left

    def _start(self, cwd: Path, environment: Mapping[str, str]) -> Process:  # noqa: ARG002 - it is the template's
        self.log.touch(mode=0o600)
        requests, kernels_requests = Wire.pair()
        outputs, kernels_outputs = Wire.pair()
        self._told = unnamed_file("mlops-modules")
        try:
            process = ForkedProcess(
                self._template.folder / SOCKET,
                {
                    "template": self._template.about.template,
                    "environment": dict(environment),
                    "log": str(self.log),
                    "code": self._code,
                    "source": self._source,
                },
                [kernels_requests.fileno(), kernels_outputs.fileno(), self._told.fileno()],
            )
        except OSError as error:
            requests.close()
            outputs.close()
            self._told.close()
            raise TemplateGone(str(error)) from error
        finally:
            kernels_requests.close()
            kernels_outputs.close()
        self._forked = process
        self.manager = ProcessManager(process)
        self._client = WireClient(self._template.session, requests, outputs, self.manager.is_alive)
        return process


class ProcessManager:
    """What a notebook client asks of a kernel's manager."""

    has_kernel = True

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def interrupt_kernel(self) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)


class ForkedProcess:
    """A child of the template's, with the part of :class:`subprocess.Popen` that is needed. Any thread may call."""

    def __init__(self, address: Path, request: Mapping[str, Json], descriptors: Sequence[int]) -> None:
        """Have it forked, and given copies of these file ``descriptors``; ``OSError`` when the template is gone."""
        self._lock = threading.Lock()
        self._rest = b""
        self.returncode: int | None = None
        """As :mod:`subprocess` has it."""
        self.left = True
        """Whether there may be processes that it has started and left behind."""
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(str(address))
            line = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(self._connection, [line], descriptors)
            self._connection.sendall(line[sent:])
            if (told := self._line(None)) is None:
                raise ConnectionError("the process that executed the first cells is gone")
        except BaseException:
            self._connection.close()
            raise
        self.pid: int = told["pid"]

    def poll(self) -> int | None:
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._await(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return code

    def _await(self, timeout: float | None) -> int | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock, contextlib.suppress(TimeoutError):
            while self.returncode is None:
                self._hear(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self.returncode

    def _hear(self, timeout: float | None) -> None:
        """Take in what is told next; ``TimeoutError`` when that is nothing."""
        told = self._line(timeout)
        # Children do not outlive the template.
        status = signal.SIGKILL if told is None else int(told["status"])
        self.left = told is None or told["left"]
        self.returncode = os.waitstatus_to_exitcode(status)
        self._connection.close()

    def _line(self, timeout: float | None) -> dict[str, Any] | None:
        """The next that the template says; None when it is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._rest:
            self._connection.settimeout(None if deadline is None else max(0.0, deadline - time.monotonic()))
            try:
                more = self._connection.recv(4096)
            except BlockingIOError:
                raise TimeoutError from None
            except ConnectionError:
                more = b""
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))


def _messages(document: Mapping[str, list[dict[str, Any]]]) -> dict[int, list[dict[str, Any]]]:
    from jupyter_client.jsonutil import extract_dates

    for messages in document.values():
        for message in messages:
            message["header"] = extract_dates(message["header"])
            message["parent_header"] = extract_dates(message["parent_header"])
            message["buffers"] = [base64.b64decode(buffer) for buffer in message["buffers"]]
    return {int(index): messages for index, messages in document.items()}


def _injection(task: NotebookTask) -> tuple[str, str]:
    """The code that sets what is swept, and what the notebook's cell of parameters says."""
    from papermill.translators import PythonTranslator

    swept = {name: value for name, value in task.parameters.items() if name in task.swept}
    return PythonTranslator.codify(swept), PythonTranslator.codify(task.parameters).rstrip("\n")
