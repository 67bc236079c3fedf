"""Running a function on foreign code in a process of its own, with limits of time and memory, and nothing of the
caller's: no environment variables, no open files, no credentials.

What comes back is the word of the foreign code. Only :attr:`Enclosed.isolation` and how the process ended are known.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from jupyter_mlops.checks.enclosed import Answer, Order
from jupyter_mlops.checks.isolation import Enclosure, Isolation, account_of
from jupyter_mlops.core.checks import LONGEST_LOG
from jupyter_mlops.core.errors import Unavailable
from jupyter_mlops.core.records import Json

DEFAULT_SECONDS = 600.0
DEFAULT_MEMORY = 4 << 30
DEFAULT_USER = "nobody"
_LARGEST_ANSWER = 16 << 20
_LOOK_SECONDS = 0.1
_END_SECONDS = 10.0
_KEPT_VARIABLES = (
    "PATH PYTHONPATH PYTHONHOME LD_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV LANG LANGUAGE TZ "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS "
    "CUDA_VISIBLE_DEVICES"
).split()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one process may use."""

    seconds: float = DEFAULT_SECONDS
    """How long it may take."""
    memory: int = DEFAULT_MEMORY
    """Bytes that it and what it starts may have together."""


class Enclosed(msgspec.Struct, frozen=True, kw_only=True):
    """How an enclosed function ended."""

    value: Json = None
    error: str | None = None
    """Why there is no value, one sentence."""
    kind: str = ""
    """The class of the error, as the process says; empty where it did not end by itself."""
    log: str = ""
    """The end of what it printed."""
    isolation: Isolation


class Sandbox:
    """A folder for one job, and the processes that are enclosed in it. Use it as a context manager: at the end its
    folder is gone.

    Parameters
    ----------
    limits
        Of each process.
    user
        The operating-system user that processes get where this one is root.
    """

    def __init__(self, limits: Limits | None = None, user: str | None = DEFAULT_USER) -> None:
        self._limits = limits or Limits()
        self._account, self._no_account = account_of(user)
        self._stopped = threading.Event()

    def __enter__(self) -> Sandbox:
        self._root = Path(tempfile.mkdtemp(prefix="mlops-check-")).resolve()
        # Others may pass, and see only what is given or theirs.
        self._root.chmod(0o711)
        self.given = self._root / "given"
        """What the processes may read; put there before they are started."""
        self.work = self._root / "work"
        """The only folder they may write to."""
        self.given.mkdir(mode=0o755)
        self.work.mkdir(mode=0o700)
        (self.work / "tmp").mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def run(
        self,
        function: str,
        arguments: Mapping[str, Json],
        *,
        network: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Enclosed:
        """Call ``function`` (``module:name``, its arguments by name) in a process of its own.

        Parameters
        ----------
        network
            Leave it the network of this process.
        environment
            Further variables for it.

        Raises
        ------
        Unavailable
            The process cannot be started or enclosed.
        """
        self._hand_over()
        order = Order(
            function=function,
            arguments=dict(arguments),
            enclosure=Enclosure(
                folder=str(self._root),
                work=str(self.work),
                readable=(str(self.given),),
                network=network,
                account=self._account,
                no_account=self._no_account,
                memory=self._limits.memory,
                seconds=self._limits.seconds,
            ),
        )
        reader, writer = os.pipe()
        with open(reader, "rb", buffering=0) as answers:  # noqa: PTH123 - a descriptor, not a path
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "jupyter_mlops.checks.enclosed", str(writer)],
                    cwd=self.work,
                    env={**self._environment(), **(environment or {})},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(writer,),
                    start_new_session=True,
                )
            except OSError as error:
                raise Unavailable(f"a process for the check cannot be started: {error}") from error
            finally:
                os.close(writer)
            with process:
                assert process.stdin is not None
                assert process.stdout is not None
                try:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.write(msgspec.json.encode(order))
                        process.stdin.close()
                    printed, told = _Tail(LONGEST_LOG), _Head(_LARGEST_ANSWER)
                    stopped = _watch(
                        process, {process.stdout.fileno(): printed, answers.fileno(): told}, self._limits, self._stopped
                    )
                finally:
                    _end(process)
        return _outcome(told.lines(), printed.text(), stopped, process.returncode)

    def stop(self) -> None:
        """End what runs, and start nothing any more. Callable from any thread."""
        self._stopped.set()

    def _hand_over(self) -> None:
        """Let the processes' user read what is given and own the working folder."""
        if self._account is None:
            return
        for place in (self.given, *self.given.rglob("*")):
            # What a link of a candidate's points at is not given.
            if not place.is_symlink():
                place.chmod(0o755 if place.is_dir() else 0o644)
        for place in (self.work, *self.work.rglob("*")):
            os.chown(place, *self._account, follow_symlinks=False)

    def _environment(self) -> dict[str, str]:
        from jupyter_core.paths import jupyter_path

        kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name[:3] == "LC_"}
        return {
            **kept,
            # Of a user by number only the system knows no name.
            "LOGNAME": "check",
            "HOME": str(self.work),
            "TMPDIR": str(self.work / "tmp"),
            "MLOPS_HOME": str(self.work / "mlops"),
            "JUPYTER_PATH": os.pathsep.join(jupyter_path()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # It refuses to work where it may not read that.
            "GIT_CONFIG_NOSYSTEM": "1",
        }


class _Tail:
    """The end of what came: at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = b""
        self._dropped = False

    def add(self, piece: bytes) -> None:
        self._kept += piece
        if len(self._kept) > self._most:
            self._dropped = True
            self._kept = self._kept[-self._most :]

    def text(self) -> str:
        return ("...\n" if self._dropped else "") + self._kept.decode("utf-8", "replace")


class _Head:
    """The beginning of what came: at most ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        self._kept += piece[: self._most - len(self._kept)]

    def lines(self) -> list[bytes]:
        return bytes(self._kept).split(b"\n")


def _watch(
    process: subprocess.Popen[bytes],
    channels: Mapping[int, _Tail | _Head],
    limits: Limits,
    stopped: threading.Event,
) -> str | None:
    """Take what the process writes until it ends; gives why it must be ended, and None where it ended by itself."""
    deadline = time.monotonic() + limits.seconds
    look = 0.0
    with selectors.DefaultSelector() as selector:
        for descriptor in channels:
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(_LOOK_SECONDS):
                piece = os.read(key.fd, 1 << 16)
                if piece:
                    channels[key.fd].add(piece)
                else:
                    selector.unregister(key.fd)
            if time.monotonic() < look:
                continue
            if process.poll() is not None and not selector.select(0):
                return None
            if stopped.is_set():
                return "it was stopped"
            if time.monotonic() > deadline:
                return f"it took longer than {limits.seconds:g} s"
            if _memory(process.pid) > limits.memory:
                return f"it needed more memory than the {limits.memory / 2**30:.3g} GiB that it may have"
            look = time.monotonic() + _LOOK_SECONDS


def _memory(pid: int) -> int:
    """Bytes that the processes below ``pid`` have to themselves, as far as that can be read."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                used = child.memory_info()
                total += used.rss - getattr(used, "shared", 0)
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started: it does that itself when it is asked to."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _outcome(lines: list[bytes], log: str, stopped: str | None, code: int) -> Enclosed:
    try:
        isolation = msgspec.json.decode(lines[0], type=Isolation)
    except msgspec.DecodeError:
        why = stopped or f"it cannot be enclosed: {log[-500:].strip() or f'its exit code is {code}'}"
        raise Unavailable(f"the process for the check did not begin: {why}") from None
    if stopped is not None:
        return Enclosed(error=stopped, log=log, isolation=isolation)
    try:
        answer = msgspec.json.decode(lines[1], type=Answer) if len(lines) > 1 else None
    except (msgspec.DecodeError, RecursionError):
        answer = None
    if answer is None:
        return Enclosed(error=f"its process ended{_how(code)} before it had answered", log=log, isolation=isolation)
    return Enclosed(value=answer.value, error=answer.error, kind=answer.kind, log=log, isolation=isolation)


def _how(code: int) -> str:
    if code > 128:
        return f" by signal {code - 128}"
    return f" with exit code {code}"
