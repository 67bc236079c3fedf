"""The engine ``fork``: the workers of ``local``, with kernels forked off a process that has executed the prefix."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

import jupyter_mlops
from jupyter_mlops.execution.engine import NotebookTask, Remark, Stops, TaskEvent, no_stops
from jupyter_mlops.execution.fork.analysis import Cell, ForkPoint, fork_point
from jupyter_mlops.execution.fork.kernel import About, fixed, key_of
from jupyter_mlops.execution.local import THREAD_VARIABLES, Workers, check_jobs, environment
from jupyter_mlops.recording.environment import PROBE
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.source import INJECTED_TAG, executable, read_source

_LAUNCHERS = (["-m", "ipykernel_launcher"], ["-m", "ipykernel"])
_BEGIN = (
    "import sys; root = sys.argv.pop(1); sys.path[0] = root; "
    "from jupyter_mlops.execution.fork.template import main; sys.path.remove(root); main()"
)
"""The kernel's Python may have no jupyter_mlops, or another one: it takes ours for a moment."""
_END_SECONDS = 5.0


class ForkEngine:
    """Executes once what does not depend on the swept parameters, and forks a kernel for each point from there.

    Where that cannot be done with the same result, it says why in one line and gives each point a fresh kernel.
    """

    def run(
        self, tasks: Iterable[NotebookTask], *, jobs: int, stops: Stops = no_stops
    ) -> Generator[TaskEvent | Remark, None, None]:
        check_jobs(jobs)
        return _run(iter(tasks), jobs, stops)


class Unfit(Exception):
    """Why a sweep's points get fresh kernels."""


def _run(tasks: Iterator[NotebookTask], jobs: int, stops: Stops) -> Generator[TaskEvent | Remark, None, None]:
    first = next(tasks, None)
    if first is None:
        return
    tasks = chain([first], tasks)
    folder = Path(tempfile.mkdtemp(prefix="mlops-fork-"))
    try:
        with Workers(environment(jobs), folder) as workers, TemplateProcess(folder) as process:
            try:
                plan = Plan(first)
                process.start(plan, environment(jobs))
                # They import what they need while the cells execute.
                for _ in range(jobs):
                    workers.add()
                process.await_ready()
                yield Remark(text=plan.told())
            except Unfit as why:
                yield Remark(text=f"each point gets a fresh kernel: {why}")
            yield from workers.run(tasks, jobs, stops)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Plan:
    """What of a task's notebook is executed once, and where the points part. ``Unfit`` when nothing can be."""

    def __init__(self, task: NotebookTask) -> None:
        if sys.platform != "linux":
            raise Unfit("forking needs Linux")
        self.task = task
        source = read_source(task.notebook)
        if source.parameters_cell is None:
            raise Unfit("the notebook has no cell tagged parameters")
        self.variables = kernel_spec(task.kernel_name or source.kernel).env
        self.command, self.options = _command(task.kernel_name or source.kernel)
        self.cwd = Path(task.cwd) if task.cwd is not None else Path(task.notebook).parent
        everything = executable(source, task.parameters, kernel=task.kernel_name)
        shared = executable(source, fixed(task), kernel=task.kernel_name)
        cells = [
            Cell(cell.source, cell.cell_type == "code", tuple(cell.metadata.get("tags", ())))
            for cell in everything.cells
        ]
        self.point: ForkPoint = fork_point(cells, task.swept)
        injected = next(index for index, cell in enumerate(cells) if INJECTED_TAG in cell.tags)
        own = next((cell.source for cell in shared.cells if INJECTED_TAG in cell.metadata.get("tags", ())), "")
        self.work: dict[str, Any] = {
            "cells": [
                (index, own or "# Parameters" if index == injected else cell.source, "raises-exception" in cell.tags)
                for index, cell in enumerate(cells[: self.point.index])
                if cell.runs
            ],
            "injected": injected,
            "swept": list(task.swept),
        }
        self.total = len(cells)

    def told(self) -> str:
        """Where the points part, and why."""
        count = len(self.work["cells"])
        if self.point.index == self.total:
            return f"all {count} cells are executed once: {self.point.why}"
        return f"{count} cells are executed once; points part at cell {self.point.index + 1}: {self.point.why}"


def _command(kernel: str) -> tuple[list[str], list[str]]:
    """What starts the template instead of the kernel ``kernel``, but for the template's own arguments."""
    spec = kernel_spec(kernel)
    argv = list(spec.argv)
    for launcher in _LAUNCHERS:
        for place in range(1, len(argv) - 1):
            if argv[place : place + 2] == launcher:
                options = argv[place + 2 :]
                if "-f" in options:
                    at = options.index("-f")
                    options = options[:at] + options[at + 2 :]
                if not any("{" in option for option in options):
                    # As Jupyter's kernel manager has it.
                    python = sys.executable if re.fullmatch(r"python[\d.]*", argv[0]) else argv[0]
                    return [python, *argv[1:place], "-c", _BEGIN, str(Path(jupyter_mlops.__file__).parents[1])], options
    raise Unfit(f"the kernel {kernel!r} is not started like ipykernel")


class TemplateProcess:
    """The process that executes the prefix, and ends with the context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("w+b")

    def __enter__(self) -> TemplateProcess:
        return self

    def start(self, plan: Plan, variables: Mapping[str, str]) -> None:
        """Begin to execute the cells; ``variables`` is the environment that the points are to have."""
        self._plan = plan
        reading, writing = os.pipe()
        self._status = reading
        try:
            self._process = subprocess.Popen(
                [*plan.command, str(self._folder), str(writing), *plan.options],
                cwd=plan.cwd,
                # A pool of threads would not survive the fork: children start theirs.
                env={**variables, **plan.variables, **dict.fromkeys(THREAD_VARIABLES, "1")},
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[writing],
                start_new_session=True,
            )
        except OSError as error:
            raise Unfit(f"{plan.command[0]} cannot be started: {error.strerror}") from error
        finally:
            os.close(writing)
        threads = {name: variables[name] for name in THREAD_VARIABLES}
        about = About(key=key_of(plan.task), injects=plan.point.injects, threads=threads, template=self._process.pid)
        work = {**plan.work, "probe": PROBE, "about": msgspec.to_builtins(about)}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(work).encode() + b"\n")
            self._process.stdin.flush()

    def await_ready(self) -> None:
        """Wait until children can be forked; ``Unfit`` when they cannot, with the reason."""
        with open(self._status, "rb", buffering=0) as news:  # noqa: PTH123 - a descriptor
            while True:
                # Each cell has the time that it has in a run.
                if not select.select([news], [], [], self._plan.task.execution_timeout)[0]:
                    raise Unfit("a cell before the points part takes longer than its time")
                line = news.readline()
                if not line:
                    raise Unfit(f"the process that executes the first cells has ended{self._last_words()}")
                told = json.loads(line)
                if "unsafe" in told:
                    raise Unfit(told["unsafe"])
                if "ready" in told:
                    return

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
