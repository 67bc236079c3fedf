"""A notebook's kernel as a process: started in a session of its own, ended with everything it started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.core.records import Reason, ReasonKind
from jupyter_mlops.recording.cancellation import postponed_signals
from jupyter_mlops.recording.variables import RUN_ID
from jupyter_mlops.tracker.process import same_process, start_time

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    from jupyter_mlops.recording.capture import Description
    from jupyter_mlops.recording.companions import Companion
    from jupyter_mlops.recording.environment import Interpreter

QUIET = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""The debugger that ipykernel imports would say in the log of each kernel what it thinks of this Python."""
GRACE_SECONDS = 5.0
"""How long a kernel that was asked to end may take before it is killed."""
_LOG_TAIL = 2000
_OOM_KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def kernel_spec(name: str, specs: KernelSpecManager | None = None) -> KernelSpec:
    """The specification of the kernel ``name``; ``NotebookError`` listing the kernels there are when it is unknown."""
    from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, NoSuchKernel

    specs = specs or kernel_specs()
    try:
        # Old notebooks name the kernel "python", which Jupyter's kernel manager takes for its own.
        return specs.get_kernel_spec(NATIVE_KERNEL_NAME if name == "python" else name)
    except NoSuchKernel:
        known = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        raise NotebookError(
            f"there is no kernel {name!r} here; installed kernels: {known}. Choose one with -k, or install the kernel"
        ) from None


def kernel_specs() -> KernelSpecManager:
    """What knows the kernels there are."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import jupyter_path

    # The default is the same, but imports all of IPython to find the last one.
    legacy = Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython") / "kernels"
    return KernelSpecManager(kernel_dirs=[*jupyter_path("kernels"), str(legacy)])


class Process(Protocol):
    """What of :class:`subprocess.Popen` is asked of a kernel's process."""

    @property
    def pid(self) -> int: ...

    def wait(self, timeout: float | None = None) -> int: ...


@dataclass
class Shared:
    """What is known of a kernel beforehand, because kernels that were forked off the same process have it in common;
    nothing of one that was started by itself."""

    interpreter: Interpreter | None = None
    description: Description | None = None
    files: tuple[str, ...] = ()
    """The files of the modules that were imported and that belong to no installation."""
    language: Mapping[str, Any] | None = None
    """What they say of their language."""


class Kernel:
    """A kernel process and its manager. Starting it returns at once; nobody has spoken with it yet."""

    def __init__(
        self,
        name: str,
        *,
        cwd: Path,
        environment: Mapping[str, str],
        run_id: str,
        log: Path,
        companions: Sequence[Companion] = (),
    ) -> None:
        """Start the kernel ``name`` in the folder ``cwd``.

        What its process writes to its own output, outside of cells, goes to the file ``log``. The companions end with
        it. ``NotebookError`` when there is no such kernel, or its command cannot be started.
        """
        self.name = name
        self.spec, self._specs = self._specification()
        self.run_id = run_id
        self.log = log
        self.companions = companions
        self.replayed: Mapping[int, Sequence[Any]] = {}
        """Cells that it has executed before it began, by their place, each with the messages that this gave."""
        self.shared = Shared()
        self.tells_modules = False
        """Whether it says at its end, in ``modules``, what must be asked of others:"""
        self.modules = b""
        """a JSON list of the files of modules that it has imported."""
        self.ends_at_once = False
        """Whether nothing else is worth beginning while it ends."""
        environment = {key: value for each in companions for key, value in each.environment.items()} | {**environment}
        self.started_at = time.time_ns() // 1_000_000
        """When it was started, in milliseconds since the epoch."""
        self._oom_kills = oom_kills()
        self._folder = connection_folder(run_id)
        self.is_ipykernel = any("ipykernel" in part for part in self.spec.argv)
        self.manager: Any
        """What Jupyter's client asks about the process."""
        self.process = self._start(cwd, environment)
        """None for a kernel that a provisioner runs elsewhere."""

    def _specification(self) -> tuple[KernelSpec, KernelSpecManager]:
        """What it is, and what knows of others."""
        specs = kernel_specs()
        return kernel_spec(self.name, specs), specs

    def _start(self, cwd: Path, environment: Mapping[str, str]) -> Process | None:
        from jupyter_client.manager import KernelManager

        from jupyter_mlops.recording.kernelsession import SharedSession

        self._folder.mkdir(mode=0o700)
        self.manager = KernelManager(
            kernel_name=self.name,
            kernel_spec_manager=self._specs,
            session=SharedSession(),
            client_class="jupyter_client.asynchronous.AsyncKernelClient",
            connection_file=str(self._folder / "kernel.json"),
            # Sockets in a private folder: nobody else on the machine can connect, and it is faster. Other kernels do
            # not all know how such an address is written.
            transport="ipc" if self.is_ipykernel else "tcp",
        )
        with self.log.open("ab") as output:
            try:
                with postponed_signals():
                    self.manager.start_kernel(
                        cwd=str(cwd),
                        env={**os.environ, **QUIET, **environment},
                        extra_arguments=["--HistoryManager.hist_file=:memory:"] if self.is_ipykernel else [],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                    )
            except OSError as error:
                raise NotebookError(f"the kernel {self.name!r} cannot be started: {error}") from error
        process: Process | None = getattr(self.manager.provisioner, "process", None)
        return process

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    @property
    def language(self) -> str:
        return str(self.spec.language).lower()

    def client(self) -> Any | None:
        """A client whose channels are open; None where they are to be opened."""
        return None

    def is_alive(self) -> bool:
        return bool(self.manager.is_alive())

    def ask_to_end(self, client: Any | None, *, idle: bool) -> None:
        """Have it end, without waiting; ``client`` is the one that speaks with it. When it is not ``idle``, what a cell
        still does is interrupted first."""
        if self.is_ipykernel and idle and client is not None:
            # Not on the control channel, as usual: ipykernel 7 handles that one in a thread, which at times waits ten
            # seconds for another thread that the main one has just ended.
            client.shell_channel.send(client.session.msg("shutdown_request", {"restart": False}))
        elif self.is_alive():
            if not idle:
                self.manager.interrupt_kernel()
            self.manager.request_shutdown()

    def end(self) -> None:
        """Wait for the kernel to end after :meth:`ask_to_end`, or kill it; then nothing of it is left."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
            kill_group(self.process.pid)
            self.process.wait()
            if self._may_have_left_processes():
                kill_stragglers(self.run_id)
        elif self.is_alive():
            self.manager.shutdown_kernel()
        self._clean_up()
        # What the kernel's code logs at its own end is still taken.
        for companion in self.companions:
            companion.close()

    def _clean_up(self) -> None:
        """Of a process that is gone: leave nothing of the channels."""
        self.manager.cleanup_resources()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _may_have_left_processes(self) -> bool:
        """Of a process that is gone: whether others that it started may be there."""
        return True

    def kill(self) -> None:
        """Kill the kernel's process group and whatever else it started, at once. Callable from any thread."""
        if self.process is None:
            self.manager.shutdown_kernel(now=True)
            return
        kill_tree(self.process.pid, self.run_id)
        self.process.wait()

    def why_it_died(self) -> Reason:
        """Why the kernel's process is gone, from its exit status, the system's counters and its last words."""
        code = None if self.process is None else self.process.wait()
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return Reason(kind=ReasonKind.OUT_OF_MEMORY, message="the system killed the kernel because memory ran out")
        return Reason(kind=ReasonKind.KERNEL_DIED, message=f"the kernel died{_how(code)}", traceback=self.last_words())

    def last_words(self) -> str | None:
        """The end of what the kernel's process wrote outside of cells; None also where the notebook removed that."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL))
                return file.read().decode("utf-8", "replace").strip() or None
        except OSError:
            return None


def connection_folder(run_id: str) -> Path:
    """Where a run's kernel has its connection file and sockets: short, because a socket's path has 107 bytes at most,
    and on a local disk."""
    return Path(tempfile.gettempdir()) / f"mlops-{run_id}"


def kill_tree(pid: int, run_id: str) -> None:
    """Kill the process group that ``pid`` leads, its descendants, and processes of the run that left both."""
    import psutil

    processes: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        processes = psutil.Process(pid).children(recursive=True)
    kill_group(pid)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    kill_stragglers(run_id)


def kill_stragglers(run_id: str) -> None:
    """Kill the processes that carry the run's id in their environment, whoever their parent is by now. Who wants one to
    outlive its run takes that variable from it."""
    for pid in _with_variable(RUN_ID, run_id):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _with_variable(name: str, value: str) -> Iterator[int]:
    """Other processes whose environment has the variable."""
    proc, own = Path("/proc"), str(os.getpid())
    if not (proc / "self" / "environ").exists():
        import psutil

        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(name) == value:
                    yield process.pid
        return
    entry = f"{name}={value}".encode()
    # As psutil does it, but for making objects of hundreds of processes and their variables after each run.
    for pid in filter(str.isdigit, os.listdir(proc)):  # noqa: PTH208 - names are all that is needed
        with contextlib.suppress(OSError), open(f"{proc}/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123
            if pid != own and entry in (content := file.read()) and entry in content.split(b"\0"):
                yield int(pid)


def kill_group(pid: int) -> None:
    """Kill what is left of the process group that ``pid`` led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_orphan(pid: int, started: float, run_id: str) -> bool:
    """Kill a kernel whose runner is gone, if process ``pid`` is still the one started at ``started`` (say whether), and
    other processes of its run."""
    alive = same_process(pid, started)
    if alive:
        kill_tree(pid, run_id)
        deadline = time.monotonic() + GRACE_SECONDS
        while start_time(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
    else:
        # It ended by itself when its runner was gone, but not what it had started.
        kill_stragglers(run_id)
    shutil.rmtree(connection_folder(run_id), ignore_errors=True)
    return alive


def kill_unrecorded(run_id: str) -> None:
    """Leave nothing of a kernel of which nothing is known but its run."""
    kill_stragglers(run_id)
    shutil.rmtree(connection_folder(run_id), ignore_errors=True)


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes the system has killed for want of memory: in this container, or where that is not counted,
    on this machine; 0 where neither is known."""
    for path in _memory_events(proc, cgroups), proc / "vmstat":
        with contextlib.suppress(OSError):
            counted = _OOM_KILLS.search(path.read_bytes())
            if counted is not None:
                return int(counted[1])
    return 0


def _memory_events(proc: Path, cgroups: Path) -> Path:
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            if line.startswith("0::"):
                return cgroups / line[3:].lstrip("/") / "memory.events"
    return cgroups / "memory.events"


def _how(code: int | None) -> str:
    if code is None:
        return ""
    if code >= 0:
        return f" with exit code {code}"
    try:
        return f" of {signal.Signals(-code).name} ({signal.strsignal(-code)})"
    except ValueError:
        return f" of signal {-code}"
