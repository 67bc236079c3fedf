"""The one way a notebook is run and recorded: from a task to a finished run."""

from __future__ import annotations

from collections.abc import Callable

from jupyter_mlops.core.errors import NotSupported
from jupyter_mlops.core.records import Progress, Run
from jupyter_mlops.recording.task import NotebookTask
from jupyter_mlops.tracker.protocol import Tracker


def record_notebook(
    tracker: Tracker, task: NotebookTask, *, on_progress: Callable[[Progress], None] | None = None
) -> Run:
    """Run ``task`` and return its finished record, whatever its status.

    Raises
    ------
    NotebookError, UnknownParameter, ParameterTypeError
        The task cannot be run as asked; no kernel was started and no run recorded.
    """
    raise NotSupported(f"running {task.notebook} is not implemented yet")
