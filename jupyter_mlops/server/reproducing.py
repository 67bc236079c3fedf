"""A recorded run once more, as it was, and whether that came to the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Json, RunKind, RunStatus
from jupyter_mlops.core.reproduction import Reproduction, comparable_metrics
from jupyter_mlops.core.run_fields import RERUN_TAG
from jupyter_mlops.core.run_files import SOURCE
from jupyter_mlops.recording.kernel import kernel_spec
from jupyter_mlops.recording.repeat import is_folder, parameters_again, place
from jupyter_mlops.recording.source import parse_source
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.evidence import reproduction
from jupyter_mlops.tracker.protocol import Tracker


def repetition(
    tracker: Tracker, run_id: str, given: Mapping[str, Json], *, tracking_url: str, by: str | None
) -> tuple[NotebookTask, bytes]:
    """What runs the notebook of a finished run again with its parameters, and that notebook.

    Raises
    ------
    InvalidValue
        It cannot be repeated and compared: it did not finish, logged no metric, or is no notebook's run; or secrets,
        whose values are not recorded, are not ``given``.
    """
    old = tracker.runs.get(run_id)
    if old.kind is not RunKind.NOTEBOOK:
        raise InvalidValue(f"{old.name} is a {old.kind.value} run; only notebook runs can be run again")
    if old.status is not RunStatus.FINISHED:
        raise InvalidValue(f"{old.name} is {old.status.value}: only what finished can be reproduced")
    comparable_metrics(old)
    content = b"".join(tracker.artifacts.open(run_id, SOURCE))
    original = Path(old.source)
    name = original.name or "notebook.ipynb"
    source = parse_source(content, name)
    kernel, cwd = place(tracker, old)
    kernel_spec(kernel or source.kernel)
    if cwd is None and original.is_absolute() and is_folder(original.parent):
        cwd = original.parent
    task = NotebookTask(
        run_id="",
        experiment_id=old.experiment_id,
        tracking_url=tracking_url,
        notebook=name,
        source=old.source,
        parameters=parameters_again(tracker, old, source.declared, given),
        kernel_name=kernel,
        cwd=None if cwd is None else str(cwd),
        tags={RERUN_TAG: run_id},
        submitted_by=by,
    )
    return task, content


def judgement(tracker: Tracker, run_id: str, again: str, tolerance: float) -> Reproduction:
    """Whether the repetition ``again`` came to the same as the run.

    Raises
    ------
    InvalidValue
        It has not finished, or is a repetition of another run.
    """
    repeated = tracker.runs.get(again)
    if {tag.key: tag.value for tag in repeated.tags}.get(RERUN_TAG) != run_id:
        raise InvalidValue(f"{repeated.name} did not run the notebook of {run_id} again")
    if repeated.status is not RunStatus.FINISHED:
        raise InvalidValue(f"{repeated.name} is {repeated.status.value}: only what finished can be compared")
    return reproduction(tracker, run_id, again, tolerance=tolerance)
