"""Which process drives a run, and whether it still lives. A process id alone says nothing: ids are used again."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
from functools import cache
from pathlib import Path

# Not inside the functions: a child forked while another thread is in the middle of an import waits for it for ever.
import psutil

from jupyter_mlops.core.records import Runner

_START_TOLERANCE = 2.0
"""Seconds two readings of one process's start time may differ: Linux derives it from the wall clock at boot, which
moves when the clock is set. An id that is used again within this time belongs to a machine out of process ids."""


@cache
def boot_id() -> str:
    """What tells this boot of the machine from others."""
    if sys.platform == "linux":
        # Not as ASCII, which Python would import here.
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{psutil.boot_time():.0f}"


def start_time(pid: int) -> float | None:
    """When process ``pid`` started, in seconds since the epoch; None when there is none, or only its zombie."""
    if pid < 1:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def same_process(pid: int, started: float) -> bool:
    """Whether process ``pid`` of this machine lives and is the one that started at ``started``."""
    found = _own_start(pid) if pid == os.getpid() else start_time(pid)
    return found is not None and abs(found - started) <= _START_TOLERANCE


@cache
def _own_start(pid: int) -> float:
    """When this process started, whose id is ``pid``: a child that was forked has another."""
    started = start_time(pid)
    if started is None:
        raise RuntimeError(f"the operating system does not tell when this process ({pid}) started")
    return started


def this_runner(kernel_pid: int | None = None) -> Runner:
    """This process as the driver of a run, with the process of its kernel when that has been started."""
    pid = os.getpid()
    return Runner(
        host=socket.gethostname(),
        boot_id=boot_id(),
        pid=pid,
        started=_own_start(pid),
        kernel_pid=kernel_pid,
        kernel_started=None if kernel_pid is None else start_time(kernel_pid),
    )


def this_user() -> str:
    """Who this process belongs to: by number where the system has no name for it, as in containers that run as any
    user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return str(os.getuid())


def how_ended(code: int) -> str:
    """How a process ended, by its exit code as :mod:`subprocess` has it, after its name: ``exited with status 1``."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal, most of which have no name
        return f"was killed by signal {-code}"


def is_alive(runner: Runner) -> bool | None:
    """Whether the runner's process lives; None when it cannot be known, because it belongs to another host."""
    if runner.host != socket.gethostname():
        return None
    return runner.boot_id == boot_id() and same_process(runner.pid, runner.started)
