"""The one way a notebook is run and recorded: from a task to a finished run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.core.records import Batch, NewRun, Progress, Run, RunKind
from jupyter_mlops.core.values import tag
from jupyter_mlops.recording.cancellation import Stop
from jupyter_mlops.recording.companions import companions
from jupyter_mlops.recording.kernel import Kernel, kill_unrecorded
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.recording.source import read_source
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.recording.variables import RUN_DIR, RUN_ID, RUN_NAME, SPOOL_DIR
from jupyter_mlops.tracker.location import ARTIFACTS_URL, HOME, TRACKING_URL, absolute, home
from jupyter_mlops.tracker.protocol import Tracker

StartKernel = Callable[..., Kernel]
"""What takes the arguments of :class:`Kernel`."""
_IOPUB_SECONDS = 600
"""How long outputs may lag behind a cell's end; the client's own 4 s fail cells on a busy machine. Of outputs that are
lost the kernel is asked far sooner."""
_quiet = logging.getLogger("jupyter_mlops.nbclient")
"""What the client would tell here, the run's reason tells better."""
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def record_notebook(
    tracker: Tracker,
    task: NotebookTask,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Stop | None = None,
    start: StartKernel = Kernel,
) -> Run:
    """Run ``task`` and return its finished record, whatever its status.

    SIGINT and SIGTERM, when this is the main thread, end the run as KILLED, and so does a request of ``stop``.
    The source notebook is only read. ``start`` starts the kernel, as :class:`Kernel` does.

    Raises
    ------
    NotebookError, UnknownParameter, ParameterTypeError
        The task cannot be run as asked; no kernel was started and no run recorded.
    Conflict
        The run was done before, or is being done.
    """
    with Launch(task, start=start) as launch:
        return launch.record(tracker, on_progress=on_progress, stop=stop)


class Launch:
    """A task whose notebook was read and checked and whose kernel is starting, before a tracker is needed.

    A kernel takes half a second to start, and so does opening a tracker: a program that starts from nothing does both
    at once. Use it as a context manager, so that no kernel is left when something fails in between.
    """

    def __init__(self, task: NotebookTask, *, start: StartKernel = Kernel) -> None:
        """Read, check, start the kernel; the errors are those of :func:`record_notebook`."""
        self.task = task
        self.source = read_source(task.notebook)
        self.source.check(task.parameters)
        self.cwd = _working_directory(task)
        self.output = None if task.output is None else _output(task.output, task.notebook)
        self.folder = RunFolder(task.run_id)
        if self.source.language.lower() != "python":
            # Which other languages parameters can be written in, papermill knows.
            from jupyter_mlops.recording.source import executable

            executable(self.source, task.parameters, kernel=task.kernel_name)
        self.folder.create()
        try:
            self.kernel: Kernel = start_kernel(
                task.kernel_name or self.source.kernel,
                run_id=task.run_id,
                name_of_run=task.name,
                folder=self.folder,
                cwd=self.cwd,
                tracking_url=task.tracking_url,
                artifacts_url=task.artifacts_url,
                start=start,
            )
        except BaseException:
            self.folder.remove()
            raise
        self._recorded = False

    def record(
        self,
        tracker: Tracker,
        *,
        experiment_id: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        stop: Stop | None = None,
    ) -> Run:
        """Execute the cells and record the run in ``experiment_id`` (the task's when None); once only."""
        from jupyter_mlops.recording.execution import Execution
        from jupyter_mlops.recording.source import executable

        task = self.task
        notebook = executable(self.source, task.parameters, kernel=task.kernel_name)
        execution = Execution(
            tracker,
            NewRun(
                run_id=task.run_id,
                experiment_id=experiment_id or task.experiment_id,
                kind=RunKind.NOTEBOOK,
                name=task.name,
                parent_run_id=task.parent_run_id,
                source=task.source or task.notebook,
                submitted_by=task.submitted_by,
                batch=Batch(tags=tuple(tag(key, value) for key, value in task.tags.items())),
            ),
            source=self.source,
            parameters=task.parameters,
            kernel=self.kernel,
            folder=self.folder,
            cwd=self.cwd,
            cancel_note=task.cancel_note,
            stop=stop,
        )
        self._recorded = True
        return execution.run(
            notebook,
            on_progress=on_progress,
            output=self.output,
            state_options={"progress_bar": False},
            client_options={
                "timeout_func": lambda _: task.execution_timeout,
                "iopub_timeout": _IOPUB_SECONDS,
                "log": _quiet,
            },
        )

    def __enter__(self) -> Launch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._recorded:
            self.kernel.kill()
            self.kernel.end()
            self.folder.remove()


def start_kernel(
    name: str,
    *,
    run_id: str,
    name_of_run: str | None = None,
    folder: RunFolder,
    cwd: Path,
    tracking_url: str,
    artifacts_url: str | None,
    start: StartKernel = Kernel,
) -> Kernel:
    """Start a kernel that knows which run it belongs to; a minimal installation in it can log with that. A
    ``name_of_run`` is one that was chosen, so that the notebook does not rename its run."""
    environment = {
        RUN_ID: run_id,
        SPOOL_DIR: str(folder.spool),
        RUN_DIR: str(folder.scratch),
        # The kernel has a working directory of its own.
        TRACKING_URL: absolute(tracking_url),
        HOME: str(home()),
    }
    if name_of_run is not None:
        environment[RUN_NAME] = name_of_run
    artifacts = artifacts_url or os.environ.get(ARTIFACTS_URL)
    if artifacts:
        environment[ARTIFACTS_URL] = absolute(artifacts)
    beside = companions(run_id, named=name_of_run is not None, tracking_url=environment[TRACKING_URL])
    try:
        return start(name, cwd=cwd, environment=environment, run_id=run_id, log=folder.kernel_log, companions=beside)
    except BaseException:
        # Perhaps a signal's, which comes before or after the process began.
        kill_unrecorded(run_id)
        for companion in beside:
            companion.close()
        raise


def _working_directory(task: NotebookTask) -> Path:
    cwd = Path(task.cwd) if task.cwd is not None else Path(task.notebook).parent
    if not cwd.is_dir():
        raise NotebookError(f"the working directory {str(cwd)!r} does not exist")
    return cwd.absolute()


def _output(path: str, notebook: str) -> Path:
    # It is replaced as a whole: of a link, what it leads to is, and a device or a pipe would be gone.
    output = Path(os.path.realpath(path))
    if output.exists() and output.samefile(notebook):
        raise NotebookError(f"the output {path!r} is the notebook itself, which is never changed; choose another file")
    if os.path.lexists(output) and not output.is_file():
        raise NotebookError(
            f"the output {path!r} is no file; without an output, the executed notebook is kept with the run alone"
        )
    if not output.parent.is_dir():
        raise NotebookError(f"the folder of the output {path!r} does not exist")
    if not os.access(output.parent, os.W_OK):
        raise NotebookError(f"the folder of the output {path!r} cannot be written to")
    return output
