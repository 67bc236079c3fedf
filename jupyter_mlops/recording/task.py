"""What is to be run: one notebook with its parameters, and where the result is recorded."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.records import Json


class NotebookTask(msgspec.Struct, frozen=True, kw_only=True):
    """One notebook run to be done. Everything in it can be sent to another machine."""

    run_id: str
    """The run that records it; chosen by the submitter, so that doing a task twice is noticed."""
    experiment_id: str
    tracking_url: str
    artifacts_url: str | None = None
    """Where artifacts are, when neither the environment nor the store says so."""
    notebook: str
    """Absolute path of the source notebook."""
    source: str | None = None
    """What the record names as its source, when ``notebook`` is only a copy of it."""
    parameters: dict[str, Json] = {}
    """Values by name; checked against the notebook's ``parameters`` cell before a kernel starts."""
    swept: tuple[str, ...] = ()
    """Those of ``parameters`` that differ among the tasks of one sweep; the others are the same for all of them."""
    decides: bool = False
    """Whether how it ends decides what is run next, so that nothing begins in its place before it has ended."""
    name: str | None = None
    parent_run_id: str | None = None
    kernel_name: str | None = None
    cwd: str | None = None
    """Working directory; the notebook's own folder when None."""
    execution_timeout: float | None = None
    """Seconds a cell may take."""
    output: str | None = None
    """Where to write the executed notebook besides the record; nowhere when None."""
    tags: dict[str, str] = {}
    submitted_by: str | None = None
    """See :attr:`jupyter_mlops.core.records.Run.submitted_by`."""
    cancel_note: str | None = None
    """File in which whoever cancels the task says why beforehand; see :mod:`~jupyter_mlops.recording.cancellation`."""
