"""A notebook, run and recorded in an enclosed process; its record is taken into the shared store afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from jupyter_mlops.checks.runcopy import read_run, write_run
from jupyter_mlops.checks.sandbox import Enclosed, Sandbox
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Json, Run
from jupyter_mlops.tracker.location import TRACKING_TOKEN
from jupyter_mlops.tracker.protocol import Tracker

_COPY = "copy"


class EnclosedRun(msgspec.Struct, frozen=True, kw_only=True):
    """How a notebook ended in an enclosed process."""

    run: Run | None
    """In the shared store, whatever its status; None where there is none, as ``process.error`` says."""
    process: Enclosed


def run_notebook(
    sandbox: Sandbox,
    tracker: Tracker,
    notebook: Path,
    parameters: Mapping[str, Json],
    *,
    experiment_id: str,
    source: str,
    kernel: str | None = None,
    fill: Callable[[Path], None] | None = None,
    cwd: str = "",
    tags: Mapping[str, str] | None = None,
    shown: Mapping[str, Json] | None = None,
    token: str | None = None,
) -> EnclosedRun:
    """Run ``notebook`` in the sandbox and record it in ``tracker``.

    Parameters
    ----------
    notebook
        In the sandbox's folder of what is given.
    experiment_id
        Where the run is recorded.
    source
        What the record names as its source.
    kernel
        The kernel's name, where the worker has it; else its Python.
    fill
        Puts files into the working folder, which it is given empty.
    cwd
        The working directory, relative to the working folder.
    tags
        Further tags of the run.
    shown
        Values that the record shows in the place of parameters.
    token
        Of the job, with which code may read from the service; the process has a network with it or without it.
    """
    base = sandbox.work / "run"
    base.mkdir()
    if fill is not None:
        fill(base)
    place = base / cwd
    # What was put there may hold links that lead elsewhere.
    if not place.resolve().is_relative_to(base.resolve()):
        raise InvalidValue(f"the folder {cwd!r} of the run leads out of its repository")
    place.mkdir(parents=True, exist_ok=True)
    ended = sandbox.run(
        f"{__name__}:record",
        {
            "notebook": str(notebook),
            "parameters": dict(parameters),
            "cwd": str(place),
            "kernel": kernel,
            "copy": str(sandbox.work / _COPY),
        },
        network=True,
        environment={} if token is None else {TRACKING_TOKEN: token},
    )
    if ended.error is not None:
        return EnclosedRun(run=None, process=ended)
    run = read_run(
        tracker,
        sandbox.work / _COPY,
        experiment_id=experiment_id,
        source=source,
        tags=tags or {},
        parameters=shown or {},
    )
    return EnclosedRun(run=run, process=ended)


def record(notebook: str, parameters: dict[str, Json], cwd: str, kernel: str | None, copy: str) -> None:
    """Run a notebook, in the enclosed process: into a store of its own, and from there into the folder ``copy``."""
    from jupyter_mlops.recording.fastimport import import_runner

    import_runner()
    from jupyter_mlops.recording.notebook import record_notebook
    from jupyter_mlops.recording.task import NotebookTask
    from jupyter_mlops.tracker.connect import connect
    from jupyter_mlops.tracker.location import default_url

    with connect() as tracker:
        task = NotebookTask(
            run_id=new_id(),
            experiment_id=tracker.experiments.ensure("check").experiment_id,
            tracking_url=default_url(),
            notebook=notebook,
            parameters=parameters,
            kernel_name=_installed(kernel),
            cwd=cwd,
        )
        write_run(tracker, record_notebook(tracker, task), Path(copy))


def _installed(kernel: str | None) -> str | None:
    """The kernel, or the worker's own Python where that is not installed: a user's kernel is often just a name for the
    environment of theirs."""
    from jupyter_mlops.core.errors import NotebookError
    from jupyter_mlops.recording.kernel import kernel_spec
    from jupyter_mlops.recording.source import DEFAULT_KERNEL

    if kernel is None:
        return None
    try:
        kernel_spec(kernel)
    except NotebookError:
        return DEFAULT_KERNEL
    return kernel


def file_of(tracker: Tracker, run_id: str, path: str) -> bytes | None:
    """The content of a run's file; None where it has none."""
    try:
        return b"".join(tracker.artifacts.open(run_id, path))
    except NotFound:
        return None
