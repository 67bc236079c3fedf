"""Memory, processor and GPU use of a kernel and what it started, over time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_mlops.core.records import Metric

if TYPE_CHECKING:
    import psutil

MEMORY = "system/memory_mb"
"""Resident memory of the kernel's processes together, in 10^6 bytes."""
CPU = "system/cpu_percent"
"""Processor time they used since the last point; 100 is one core kept busy."""
GPU = "system/gpu_{}_percent"
"""Busy time of a GPU, by all processes on the machine."""
GPU_MEMORY = "system/gpu_{}_memory_mb"
"""Memory that the kernel's processes hold on a GPU, in 10^6 bytes."""
WATCH_SECONDS = 10.0


class Usage:
    """Samples the process tree below ``pid``. Steps count the samples from 0."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._root: psutil.Process | None = None
        age = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
            age = time.time() - self._root.create_time()
        self._step = 0
        self._cpu: dict[int, float] = {}
        # The first point tells what was used since the start.
        self._at = time.monotonic() - age
        self._read_gpus = _gpu_reader()

    def sample(self) -> tuple[Metric, ...]:
        """One point of each metric; empty when the kernel is gone."""
        import psutil

        if self._root is None:
            return ()
        memory, spent = 0, 0.0
        try:
            tree = [self._root, *_descendants(self._root)]
        except psutil.Error:
            return ()
        cpu: dict[int, float] = {}
        for process in tree:
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
                cpu[process.pid] = times.user + times.system
                spent += max(0.0, cpu[process.pid] - self._cpu.get(process.pid, 0.0))
        if not cpu:
            return ()
        now = time.monotonic()
        elapsed, self._at, self._cpu = now - self._at, now, cpu
        values = {MEMORY: memory / 1e6, CPU: 100 * spent / elapsed if elapsed > 0 else 0.0, **self._read_gpus(set(cpu))}
        stamp, step = time.time_ns() // 1_000_000, self._step
        self._step += 1
        return tuple(Metric(key, value, stamp, step) for key, value in values.items())


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    """The processes below ``root``. Linux tells them by process; psutil looks at all that the machine has."""
    import psutil

    found: list[psutil.Process] = []
    ids = [root.pid]
    for pid in ids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is needed
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:  # noqa: PTH123
                    ids += map(int, file.read().split())
        except OSError:
            # It has just ended; or the system does not tell.
            if pid == root.pid:
                return list(root.children(recursive=True))
    for pid in ids[1:]:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


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
