"""Timing two ways of doing the same thing, in turn, in one run: medians and ratios."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Seconds of wall clock, and of CPU in this process and the children it waited for."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Comparison:
    """Ours against a peer's, measured in turn; ``unit`` is what one timing stands for."""

    name: str
    unit: str
    ours: Sequence[Timing]
    peer: Sequence[Timing]
    goal: str = ""
    peer_name: str = "mlflow"
    note: str = field(default="")

    @property
    def wall_ratio(self) -> float:
        """How many times longer the peer takes: the median over the pairs."""
        return statistics.median(p.wall / o.wall for o, p in zip(self.ours, self.peer, strict=True))

    @property
    def cpu_ratio(self) -> float:
        return statistics.median(p.cpu / max(o.cpu, 1e-6) for o, p in zip(self.ours, self.peer, strict=True))


def _cpu_seconds() -> float:
    own = time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


def timed(action: Callable[[], object]) -> Timing:
    cpu, wall = _cpu_seconds(), time.perf_counter()
    action()
    return Timing(time.perf_counter() - wall, _cpu_seconds() - cpu)


def in_turn(
    ours: Callable[[], object], peer: Callable[[], object], *, pairs: int, warm_up: int = 1, divide_by: int = 1
) -> tuple[list[Timing], list[Timing]]:
    """Time the two in turn, ``pairs`` times after ``warm_up`` uncounted pairs, so that a drift of the machine's speed
    hits both. Each timing is divided by ``divide_by``, the number of operations in one action."""
    results: tuple[list[Timing], list[Timing]] = ([], [])
    for pair in range(warm_up + pairs):
        for action, timings in zip((ours, peer), results, strict=True):
            timing = timed(action)
            if pair >= warm_up:
                timings.append(Timing(timing.wall / divide_by, timing.cpu / divide_by))
    return results


def median(timings: Sequence[Timing]) -> Timing:
    return Timing(statistics.median(t.wall for t in timings), statistics.median(t.cpu for t in timings))


def shell(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> None:
    """Run a command to its end, output thrown away; an error when it fails."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def machine() -> str:
    """This machine in a line: processor, cores, memory."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions(*packages: str) -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)])
