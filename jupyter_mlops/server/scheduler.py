"""For those who schedule notebooks with jupyter-scheduler: its jobs are recorded as runs.

::

    c.SchedulerApp.scheduler_class = "jupyter_scheduler.scheduler.Scheduler"
    c.Scheduler.execution_manager_class = "jupyter_mlops.server.scheduler.RecordingExecutionManager"
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_scheduler.executors import DefaultExecutionManager

from jupyter_mlops.core.errors import RunFailed
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.parameters import resolve_text
from jupyter_mlops.core.records import Json, RunStatus
from jupyter_mlops.core.run_fields import reason_text
from jupyter_mlops.recording.notebook import record_notebook
from jupyter_mlops.recording.source import Source, read_source
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.recording.variables import experiment_of
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.location import absolute, default_url

JOB_TAG = "jupyter_scheduler.job"
"""On a run: the id of the job that it was."""


class RecordingExecutionManager(DefaultExecutionManager):  # type: ignore[misc]  # it has no types
    """Executes a job's notebook as ``jupyter mlops run`` does, in the experiment that ``MLOPS_EXPERIMENT`` names, else
    one named like the notebook. The job's outputs are made from the executed notebook as ever.

    Values that the job gives as text are read with the type that the notebook's ``parameters`` cell declares.
    """

    def execute(self) -> None:
        """Execute and record.

        Raises
        ------
        MLOpsError
            The notebook cannot be run as asked.
        RunFailed
            The run did not finish; the job fails with its reason.
        """
        import nbformat

        job, notebook = self.model, Path(self.staging_paths["input"])
        source = read_source(notebook)
        with connect() as tracker, TemporaryDirectory() as folder:
            experiment = tracker.experiments.ensure(experiment_of(job.input_filename))
            executed = Path(folder) / notebook.name
            run = record_notebook(
                tracker,
                NotebookTask(
                    run_id=new_id(),
                    experiment_id=experiment.experiment_id,
                    tracking_url=absolute(default_url()),
                    notebook=str(notebook),
                    source=job.input_filename,
                    parameters=_typed(source, job.parameters or {}),
                    output=str(executed),
                    tags={JOB_TAG: job.job_id},
                ),
            )
            self.add_side_effects_files(str(notebook.parent))
            self.create_output_files(job, nbformat.read(executed, as_version=4))
        if run.status is not RunStatus.FINISHED:
            told = "" if run.reason is None else f": {reason_text(run.reason.message)}"
            raise RunFailed(f"the run {run.name} ended as {run.status.value}{told}", run.run_id)


def _typed(source: Source, given: dict[str, Any]) -> dict[str, Json]:
    known = {parameter.name: parameter for parameter in source.declared or ()}
    return {
        name: resolve_text(known.get(name), value) if isinstance(value, str) else value for name, value in given.items()
    }
