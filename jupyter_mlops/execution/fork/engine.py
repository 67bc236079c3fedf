"""The engine ``fork``: the workers of ``local``, with kernels forked off a process that has executed the prefix."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO

import msgspec

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.execution.engine import NotebookTask, Remark, Stops, TaskEvent, no_stops
from jupyter_mlops.execution.fork.kernel import About, fixed, key_of
from jupyter_mlops.execution.fork.prefix import Prefix, Unfit
from jupyter_mlops.execution.local import THREAD_VARIABLES, Workers, check_jobs, default_jobs, environment
from jupyter_mlops.execution.worker import Preparation
from jupyter_mlops.recording.environment import MODULES_PROBE, PROBE
from jupyter_mlops.recording.kernel import QUIET
from jupyter_mlops.recording.source import read_source

_END_SECONDS = 5.0


class ForkEngine:
    """Executes once what does not depend on the swept parameters, and forks a kernel for each point from there.

    Where that cannot be done with the same result, it says why in one line and gives each point a fresh kernel.
    """

    _equal = False
    """Whether what is random and was not seeded goes on equally at all points."""

    @property
    def usual_jobs(self) -> int:
        """One a core, eight at most."""
        return default_jobs()

    def run(
        self, tasks: Iterable[NotebookTask], *, jobs: int, stops: Stops = no_stops
    ) -> Generator[TaskEvent | Remark, None, None]:
        check_jobs(jobs)
        return _run(iter(tasks), jobs, stops, self._equal)


class EqualForkEngine(ForkEngine):
    """The same, with random states that were not seeded kept equal: points differ by their parameters only."""

    _equal = True


def _run(
    tasks: Iterator[NotebookTask], jobs: int, stops: Stops, equal: bool
) -> Generator[TaskEvent | Remark, None, None]:
    first = next(tasks, None)
    if first is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="mlops-fork-"))
    variables = environment(jobs)
    # Behind the prefix, to store what a point has left takes about half as long as to execute it.
    spare = 0 if first.decides else (jobs + 1) // 2
    try:
        # Workers end first: they bring their runs to an end.
        with TemplateProcess(folder, equal=equal) as process, Workers(variables, folder, spare=spare) as workers:
            try:
                prefix = find_prefix(first)
                process.start(first, prefix, variables)
                # While the cells execute.
                workers.prepare(jobs + spare, _preparation(first))
                process.await_ready()
                yield Remark(text=prefix.told())
            except Unfit as why:
                process.end()
                yield Remark(text=f"each point gets a fresh kernel: {why}")
            yield from workers.run(chain([first], tasks), jobs, stops)
            # Nobody forks any more, so it ends while the workers do.
            process.let_go()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _preparation(task: NotebookTask) -> Preparation:
    return Preparation(
        tracking_url=task.tracking_url,
        artifacts_url=task.artifacts_url,
        notebook=task.notebook,
        kernel_name=task.kernel_name,
    )


def find_prefix(task: NotebookTask) -> Prefix:
    """What a task shares with those that differ in what is swept; ``Unfit`` when that cannot be executed once."""
    try:
        source = read_source(task.notebook)
        source.check(task.parameters)
        return Prefix(source, fixed=fixed(task), swept=task.swept, kernel_name=task.kernel_name)
    except MLOpsError as error:
        # What is wrong with the points, each of them tells.
        raise Unfit(error.message) from error


class TemplateProcess:
    """The process that executes the prefix, and ends with the context. ``equal`` says whether its children go on
    equally with what is random and was not seeded."""

    def __init__(self, folder: Path, *, equal: bool = False) -> None:
        self._folder = folder
        self._equal = equal
        self._process: subprocess.Popen[bytes] | None = None
        self._news: IO[bytes] | None = None
        self._is_ready = False
        self._log = (folder / "log").open("w+b")

    def __enter__(self) -> TemplateProcess:
        return self

    def start(self, task: NotebookTask, prefix: Prefix, variables: Mapping[str, str]) -> None:
        """Begin to execute the prefix of a task; ``variables`` is the environment that the points are to have."""
        self._seconds = task.execution_timeout
        reading, writing = os.pipe()
        self._news = open(reading, "rb", buffering=0)  # noqa: PTH123, SIM115 - a descriptor, kept open
        try:
            self._process = subprocess.Popen(
                [*prefix.command, str(self._folder), str(writing), *prefix.options],
                cwd=Path(task.notebook).parent if task.cwd is None else task.cwd,
                # A pool of threads would not survive the fork: children start theirs.
                env={**variables, **QUIET, **prefix.variables, **dict.fromkeys(THREAD_VARIABLES, "1")},
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[writing],
                start_new_session=True,
            )
        except OSError as error:
            raise Unfit(f"{prefix.command[0]} cannot be started: {error.strerror}") from error
        finally:
            os.close(writing)
        threads = {name: variables[name] for name in THREAD_VARIABLES}
        about = About(key=key_of(task), injects=prefix.point.injects, template=self._process.pid)
        work = {
            **prefix.work,
            "equal": self._equal,
            "probe": PROBE,
            "modules": MODULES_PROBE,
            "threads": threads,
            "about": msgspec.to_builtins(about),
        }
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(work).encode() + b"\n")
            self._process.stdin.flush()

    def await_ready(self) -> None:
        """Wait until children can be forked; ``Unfit`` when they cannot, with the reason."""
        assert self._news is not None
        while True:
            # Each cell has the time that it has in a run.
            if not select.select([self._news], [], [], self._seconds)[0]:
                raise Unfit("a cell before the points part takes longer than its time")
            line = self._news.readline()
            if not line:
                raise Unfit(f"the process that executes the first cells has ended{self._last_words()}")
            told = json.loads(line)
            if "unsafe" in told:
                raise Unfit(told["unsafe"])
            if "ready" in told:
                self._is_ready = True
                return

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""

    def __exit__(self, *_: object) -> None:
        self.end()
        self._log.close()
        if self._news is not None:
            self._news.close()

    def let_go(self) -> None:
        """Have it end, without waiting."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def end(self) -> None:
        """End it, and with it all that was forked off it."""
        self.let_go()
        if self._process is not None:
            if self._is_ready:
                # Otherwise it is in the middle of a cell, and hears nothing.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
