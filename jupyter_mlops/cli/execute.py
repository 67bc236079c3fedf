"""``jupyter mlops run`` and ``rerun``: one notebook, run and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from jupyter_mlops.cli.context import Connection
from jupyter_mlops.cli.execution_options import How, execution_options, notebook_path
from jupyter_mlops.cli.interrupts import exit_code, orderly
from jupyter_mlops.cli.options import RunName, json_option
from jupyter_mlops.cli.parameters import Given, ParametersCommand, parameter_options
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.parameters import check
from jupyter_mlops.core.records import Run, RunKind, RunStatus
from jupyter_mlops.core.run_fields import RERUN_TAG
from jupyter_mlops.core.run_files import SOURCE
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.recording.repeat import is_folder, parameters_again, place
from jupyter_mlops.recording.source import read_source

output_option = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Also write the executed notebook to this file.",
)


@click.command(cls=ParametersCommand)
@click.argument("notebook", type=notebook_path)
@parameter_options
@execution_options
@output_option
@json_option
@click.pass_obj
def run(connection: Connection, *, notebook: Path, given: Given, how: How, output: Path | None, as_json: bool) -> None:
    """Run NOTEBOOK with parameters and record it. NOTEBOOK itself is never changed.

    \b
      jupyter mlops run churn.ipynb -p depth 5 -p kind=forest
      jupyter mlops run churn.ipynb -f parameters.yaml --experiment churn
    """
    declared = read_source(notebook).declared
    _record(
        connection,
        how,
        experiment=how.experiment_for(notebook),
        as_json=as_json,
        notebook=str(notebook.absolute()),
        parameters=check(declared, given.resolve(declared)),
        cwd=None if how.cwd is None else str(how.cwd),
        output=None if output is None else str(output.absolute()),
        tags=how.tags,
    )


@click.command(cls=ParametersCommand)
@click.argument("run", type=RunName())
@parameter_options
@execution_options
@output_option
@json_option
@click.pass_obj
def rerun(connection: Connection, *, run: str, given: Given, how: How, output: Path | None, as_json: bool) -> None:
    """Run the notebook of RUN again, as it was then, with its parameters except those given here.

    It runs by the same kernel, and in the same folder while that exists; the notebook may have changed or gone since.
    The new run is recorded in the same experiment.
    """
    with repetition(connection, run, given, how, output=output) as task:
        _record(connection, how, as_json=as_json, **task)


@contextmanager
def repetition(
    connection: Connection, run: str, given: Given, how: How, *, output: Path | None = None
) -> Iterator[dict[str, Any]]:
    """What :func:`execute` needs to run the notebook of ``run`` again; its copy is there while this lasts."""
    tracker = connection.tracker
    old = tracker.runs.resolve(run)
    if old.kind is RunKind.SWEEP:
        raise InvalidValue(f"{old.name} is a sweep; to run what it lacks: jupyter mlops sweep --resume {old.name}")
    if old.kind is not RunKind.NOTEBOOK:
        raise InvalidValue(f"{old.name} is a {old.kind.value} run; only notebook runs can be run again")
    original = Path(old.source)
    with RunFolder(new_id()) as folder:
        notebook = folder.scratch / (original.name or "notebook.ipynb")
        notebook.write_bytes(b"".join(tracker.artifacts.open(old.run_id, SOURCE)))
        declared = read_source(notebook).declared
        parameters = parameters_again(tracker, old, declared, given.resolve(declared))
        kernel, cwd = place(tracker, old)
        beside = original.parent if original.is_absolute() and is_folder(original.parent) else Path.cwd()
        yield {
            "kernel_name": how.kernel or kernel,
            "experiment": how.experiment or tracker.experiments.get(old.experiment_id).name,
            # Another owner may have one of that name.
            "experiment_id": None if how.experiment else old.experiment_id,
            "notebook": str(notebook),
            "source": old.source,
            "parameters": parameters,
            "cwd": str(how.cwd or cwd or beside),
            "output": None if output is None else str(output.absolute()),
            "tags": {**how.tags, RERUN_TAG: old.run_id},
        }


def _record(connection: Connection, how: How, *, experiment: str, as_json: bool, **task: Any) -> None:
    """Run a task, show how it ended, and end this command with the exit code that says so."""
    from jupyter_mlops.cli import outcome
    from jupyter_mlops.cli.terminal import emit_json

    run = execute(connection, how, experiment=experiment, **task)
    if as_json:
        emit_json(run)
    else:
        outcome.show(run, experiment=experiment, output=task["output"])
        outcome.remind_of_quotas(connection.tracker)
    if run.status is not RunStatus.FINISHED:
        raise click.exceptions.Exit(exit_code(run))


def execute(connection: Connection, how: How, *, experiment: str, experiment_id: str | None = None, **task: Any) -> Run:
    """Run a task, showing its progress, and give its record, whatever its status. ``task`` has the fields of a
    :class:`~jupyter_mlops.recording.task.NotebookTask` that ``how`` does not give. Without an ``experiment_id``, the
    experiment is made when there is none of that name."""
    from jupyter_mlops.recording.fastimport import import_papermill, skip_format_checks, uncollected

    skip_format_checks()
    from jupyter_mlops.cli.progress import NotebookProgress
    from jupyter_mlops.recording.notebook import Launch
    from jupyter_mlops.recording.task import NotebookTask

    notebook_task = NotebookTask(
        run_id=new_id(),
        # Known when the tracker is open, and that is opened while the kernel starts.
        experiment_id="",
        tracking_url=connection.database_url,
        artifacts_url=connection.artifacts,
        name=how.name,
        execution_timeout=how.execution_timeout,
        **{"kernel_name": how.kernel, **task},
    )
    with orderly(), NotebookProgress(Path(notebook_task.notebook).name) as on_progress, Launch(notebook_task) as launch:
        with uncollected():
            import_papermill()
            tracker = connection.tracker
        experiment_id = experiment_id or tracker.experiments.ensure(experiment).experiment_id
        return launch.record(tracker, experiment_id=experiment_id, on_progress=on_progress)
