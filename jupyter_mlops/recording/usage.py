"""Memory, processor and GPU use of a kernel and what it started, over time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from jupyter_mlops.core.records import Metric

MEMORY = "system/memory_mb"
"""Resident memory of the kernel's processes together, in 10^6 bytes."""
CPU = "system/cpu_percent"
"""Processor time they used since the last point; 100 is one core kept busy."""
GPU = "system/gpu_{}_percent"
"""Busy time of a GPU, by all processes on the machine."""
GPU_MEMORY = "system/gpu_{}_memory_mb"
"""Memory that the kernel's processes hold on a GPU, in 10^6 bytes."""
WATCH_SECONDS = 10.0
_TICKS, _PAGE = (os.sysconf(name) for name in ("SC_CLK_TCK", "SC_PAGE_SIZE"))


class Usage:
    """Samples the process tree below ``pid``. Steps count the samples from 0."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._step = 0
        self._cpu: dict[int, float] = {}
        found = _read(pid)
        # The first point tells what was used since the start.
        self._at = time.monotonic() - (0.0 if found is None else found.age)
        self._read_gpus = _gpu_reader()

    def sample(self) -> tuple[Metric, ...]:
        """One point of each metric; empty when the kernel is gone."""
        memory, spent = 0, 0.0
        cpu: dict[int, float] = {}
        for pid in (self._root, *_descendants(self._root)):
            found = _read(pid)
            if found is not None:
                memory += found.memory
                cpu[pid] = found.cpu
                spent += max(0.0, found.cpu - self._cpu.get(pid, 0.0))
        if not cpu:
            return ()
        now = time.monotonic()
        elapsed, self._at, self._cpu = now - self._at, now, cpu
        values = {MEMORY: memory / 1e6, CPU: 100 * spent / elapsed if elapsed > 0 else 0.0, **self._read_gpus(set(cpu))}
        stamp, step = time.time_ns() // 1_000_000, self._step
        self._step += 1
        return tuple(Metric(key, value, stamp, step) for key, value in values.items())


class _Reading(NamedTuple):
    """What the system tells of a process."""

    age: float
    """Seconds."""
    cpu: float
    """Seconds that it used of all processors."""
    memory: int
    """Bytes that are resident."""


def _read(pid: int) -> _Reading | None:
    """None when the process is gone. psutil, which knows all systems, takes several times as long on Linux."""
    if sys.platform != "linux":
        return _read_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            told = file.read()
    except OSError:
        return None
    # The second field, in parentheses, is the name, which may be anything (man 5 proc_pid_stat).
    fields = told[told.rindex(b")") + 2 :].split()
    user, system, started, resident = (int(fields[number - 3]) for number in (14, 15, 22, 24))
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started / _TICKS
    return _Reading(age, (user + system) / _TICKS, resident * _PAGE)


def _read_by_psutil(pid: int) -> _Reading | None:
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return _Reading(time.time() - process.create_time(), times.user + times.system, process.memory_info().rss)
    except psutil.Error:
        return None


def _descendants(root: int) -> list[int]:
    """The processes below ``root``. Linux tells them by process; psutil looks at all that the machine has."""
    ids = [root]
    for pid in ids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is needed
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:  # noqa: PTH123
                    ids += map(int, file.read().split())
        except OSError:
            # It has just ended; or the system does not tell.
            if pid == root:
                return _descendants_by_psutil(root)
    return ids[1:]


def _descendants_by_psutil(root: int) -> list[int]:
    import psutil

    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []


class Watch:
    """Samples this process and what it started, in a thread of its own: at once, every ten seconds, and when stopped.

    Parameters
    ----------
    log
        Takes the points of a sample.
    """

    def __init__(self, log: Callable[[tuple[Metric, ...]], None]) -> None:
        self._log = log
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlops-usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sample a last time and end."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        usage = Usage(os.getpid())
        self._log(usage.sample())
        while not self._over.wait(WATCH_SECONDS):
            self._log(usage.sample())
        self._log(usage.sample())


def _gpu_reader() -> Callable[[set[int]], dict[str, float]]:
    """What reads the GPUs' metrics for the processes given, an empty result where there is nothing to read."""
    from jupyter_mlops.recording.environment import gpu_handles

    handles = gpu_handles()
    if not handles:
        return lambda _: {}
    import pynvml

    def read(pids: set[int]) -> dict[str, float]:
        values: dict[str, float] = {}
        for index, handle in handles.items():
            # Some of it is not known on virtual GPUs and in containers, nor of one that has failed since.
            with contextlib.suppress(pynvml.NVMLError):
                values[GPU.format(index)] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            with contextlib.suppress(pynvml.NVMLError):
                held: list[Any] = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
                values[GPU_MEMORY.format(index)] = sum(p.usedGpuMemory or 0 for p in held if p.pid in pids) / 1e6
        return values

    return read
