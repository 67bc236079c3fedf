"""Runs whose runner was killed: what they left is stored, their kernel ended, their end recorded."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from functools import partial

from jupyter_mlops.core.errors import Conflict, NotFound, QuotaExceeded, TrackerClosed
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Reason, ReasonKind, Run, RunChange, RunKind, RunStatus
from jupyter_mlops.core.run_files import EXECUTED
from jupyter_mlops.recording.kernel import kill_orphan, kill_unrecorded
from jupyter_mlops.recording.recorder import RunFolder
from jupyter_mlops.tracker import losses
from jupyter_mlops.tracker.deadletters import dead_letters
from jupyter_mlops.tracker.location import home
from jupyter_mlops.tracker.process import is_alive
from jupyter_mlops.tracker.protocol import Tracker
from jupyter_mlops.tracker.replay import replay_folder
from jupyter_mlops.tracker.spool import SpoolWriter


def recover(tracker: Tracker, *, but: Collection[str] = ()) -> list[Run]:
    """Bring to an end the runs of this machine whose runner is gone, and return them as they are then; ``but`` are the
    ids of those that somebody looks after who knows more of their ends.

    A kernel that still lives is killed, but only when it is the very process that the runner started. What the run had
    logged, and the notebook as far as it was executed, are stored first; what finds no room in a quota is kept for the
    next time, and the runs end nevertheless.

    Raises
    ------
    QuotaExceeded
        There was no room for what ended sessions had left; all else is done.
    """
    held_up: QuotaExceeded | None = None
    try:
        replay_folder(home() / "spool", tracker)
    except QuotaExceeded as error:
        held_up = error
    found = []
    for run in tracker.runs.active():
        if run.run_id not in but and run.runner is not None and is_alive(run.runner) is False:
            found.append(close(tracker, run))
    _remove_abandoned(tracker)
    if held_up is not None:
        raise held_up
    return found


def close(tracker: Tracker, run: Run, reason: Reason | None = None) -> Run:
    """Bring a run whose runner is gone to its end as :func:`recover` does, FAILED (or KILLED, where it was cancelled)
    for ``reason``; None stands for what is known of it, which is that its runner was lost."""
    if run.runner is None:
        # Nobody said that it had begun; perhaps somebody was about to.
        kill_unrecorded(run.run_id)
    elif (
        run.runner.kernel_pid is not None and run.runner.kernel_started is not None and is_alive(run.runner) is not None
    ):
        kill_orphan(run.runner.kernel_pid, run.runner.kernel_started, run.run_id)
    return _end(tracker, run, reason)


def _end(tracker: Tracker, run: Run, reason: Reason | None = None) -> Run:
    folder = RunFolder(run.run_id)
    try:
        refusal = replay_folder(folder.spool, tracker).refusal
    except QuotaExceeded as error:
        refusal = error.message
    run = tracker.runs.get(run.run_id)
    if not run.status.ended:
        try:
            if folder.executed.is_file():
                refusal = _stored(tracker, folder) or refusal
            what = "runner" if run.kind is RunKind.NOTEBOOK else "process"
            lost = Reason(kind=ReasonKind.RUNNER_LOST, message=f"the {what} of this run was killed or crashed")
            reason = reason or lost
            status = RunStatus.KILLED if reason.kind is ReasonKind.CANCELLED else RunStatus.FAILED
            run = tracker.runs.change(run.run_id, RunChange(status=status, reason=reason))
        except TrackerClosed:
            raise
        except (NotFound, Conflict):
            # Another process may have recovered it, or deleted it, at the same time.
            pass
    if not refusal and not dead_letters(folder.spool):
        folder.remove()
    return run


def _stored(tracker: Tracker, folder: RunFolder) -> str:
    """Store the notebook as far as it was executed; why it waits for room instead, else nothing."""
    run_id = folder.path.name
    try:
        tracker.artifacts.put(run_id, EXECUTED, folder.executed)
    except QuotaExceeded as error:
        spool = SpoolWriter(folder.spool)
        spool.put_file(run_id, EXECUTED, partial(shutil.copyfile, folder.executed))
        spool.close()
        return error.message
    return ""


def _remove_abandoned(tracker: Tracker) -> None:
    """Remove the folders of runners that were killed before their run began, or after it had ended, and the kernels of
    the former. What was logged and is not stored, perhaps for another tracker, stays."""
    for path in (home() / "runs").glob("*"):
        folder = RunFolder(path.name)
        if not is_id(path.name) or not folder.is_abandoned():
            continue
        if all(file.name == losses.OF_A_RUN for file in folder.spool.glob("*")):
            kill_unrecorded(path.name)
            folder.remove()
            continue
        with contextlib.suppress(NotFound):
            run = tracker.runs.get(path.name)
            if run.status.ended:
                _end(tracker, run)
