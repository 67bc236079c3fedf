"""The course of a notebook run, the same for ``jupyter mlops run`` and for papermill's own command."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from jupyter_mlops.core.errors import Conflict
from jupyter_mlops.core.parameters import recordable
from jupyter_mlops.core.reasons import cell_name
from jupyter_mlops.core.records import (
    Batch,
    Json,
    NewRun,
    Progress,
    Reason,
    ReasonKind,
    Run,
    RunChange,
    RunStatus,
)
from jupyter_mlops.core.redaction import Finding, find_secrets, redact_params
from jupyter_mlops.core.run_files import CELLS, LONG_PARAMETERS, SOURCE
from jupyter_mlops.recording.cancellation import Stop, cancelled_by_signals, why_cancelled
from jupyter_mlops.recording.capture import Capture
from jupyter_mlops.recording.client import DeadKernelError, RecordingClient
from jupyter_mlops.recording.environment import MODULES_PROBE, PROBE, Interpreter
from jupyter_mlops.recording.executed import written
from jupyter_mlops.recording.kernel import Kernel
from jupyter_mlops.recording.outputs import MIME_TYPE
from jupyter_mlops.recording.recorder import Recorder, RunFolder, write_atomically
from jupyter_mlops.recording.redactor import Redactor
from jupyter_mlops.recording.source import Source
from jupyter_mlops.recording.state import RecordingState, plain
from jupyter_mlops.tracker.process import this_runner
from jupyter_mlops.tracker.protocol import Tracker


class Execution:
    """One notebook run: created with the object, then :meth:`run`."""

    def __init__(
        self,
        tracker: Tracker,
        new: NewRun,
        *,
        source: Source,
        parameters: dict[str, Json],
        kernel: Kernel,
        folder: RunFolder,
        cwd: Path,
        cancel_note: str | None = None,
        stop: Stop | None = None,
    ) -> None:
        """Create the run ``new``, with the parameters given and the defaults of the others; or begin it when it waits
        as SCHEDULED. ``Conflict`` when it was begun before, ``MissingDependency`` or ``InvalidValue`` when its files
        could not be stored at its end."""
        assert new.run_id is not None
        tracker.artifacts.check_location()
        self.failure: BaseException | None = None
        """What :meth:`run` was ended by, other than an error in a cell."""
        self._tracker = tracker
        self._source = source
        self._kernel = kernel
        self._cwd = cwd
        self._cancelled: Reason | None = None
        self._cancel_note = cancel_note
        self._stop = stop or Stop()
        self._over = threading.Event()
        """No cell executes any more."""
        self._interpreter: Interpreter | None = None
        self._modules: Json | None = None
        """What the kernel told of the modules that it had imported."""
        defaults = {known.name: known.default for known in source.declared or () if known.has_default}
        everything = {**defaults, **parameters}
        params, large = recordable(everything)
        self._redactor = Redactor(everything)
        described = kernel.shared.description
        tags = (*new.batch.tags, *(() if described is None else described.as_tags()))
        batch = Batch(params=redact_params(params), tags=tags)
        self.name = _begin(
            tracker, msgspec.structs.replace(new, start_time=kernel.started_at, batch=batch), kernel
        ).name
        self.recorder = Recorder(tracker, new.run_id, folder)
        # What can fail is left to `run`, which ends what was begun here.
        self._large = {name: everything[name] for name in large}

    def run(
        self,
        notebook: Any,
        *,
        state_options: dict[str, Any],
        client_options: dict[str, Any],
        on_progress: Callable[[Progress], None] | None = None,
        output: Path | None = None,
        any_error_fails: bool = False,
    ) -> Run:
        """Execute the cells, end the kernel, complete the record and return it, however the execution ended.

        Parameters
        ----------
        notebook
            As papermill's engines take it; it is executed in place.
        state_options, client_options
            What papermill's execution manager and client take.
        output
            Where to write the executed notebook besides the record.
        any_error_fails
            The run fails when any cell shows an error, also one that did not end the execution.
        """
        self._capture = Capture(self.recorder, self._redactor, self._cwd)
        try:
            self._state = RecordingState(
                notebook, self.recorder, self._redactor, on_progress=on_progress, output=output, **state_options
            )
            self._state.replayed = self._kernel.replayed.keys()
            self._state.is_stored_at_once = self._kernel.tells_modules
            self._client = RecordingClient(
                self._state, self._kernel, self.recorder, self._redactor, self._cwd, **client_options
            )
        except Exception as failure:  # options that papermill passes on as it was given them
            self._kernel.kill()
            self._kernel.end()
            self.recorder.finish(RunChange(status=RunStatus.FAILED, reason=self._told(failure)))
            raise
        with cancelled_by_signals(self._signalled), self._stop.heard_by(self._cancel):
            try:
                self._begin_to_record()
                self.recorder.start(self._kernel.pid)
                self._state.notebook_start()
                self._client.connect()
                self._describe()
                self._client.execute()
            except (Exception, KeyboardInterrupt) as failure:  # noqa: BLE001 - it becomes the run's reason
                self.failure = failure
            finally:
                self._over.set()
                self._state.cleanup_pbar()
                try:
                    self._state.notebook_complete()
                except Exception as failure:  # noqa: BLE001 - papermill's output cannot be written; the record goes on
                    self.failure = self.failure or failure
            ended = time.time_ns() // 1_000_000
            reason = self._reason()
            if reason is None and any_error_fails:
                reason = self._state.first_error()
            change = RunChange(status=_status(reason), reason=reason, end_time=ended, progress=self._state.progress)
            try:
                try:
                    self._complete(reason, output)
                finally:
                    self._kernel.end()
                self._capture.modules(self._imported())
            finally:
                # Whatever went wrong with what belongs to the record, the run has ended so.
                run = self.recorder.finish(change)
            if any(companion.may_have_begun_runs for companion in self._kernel.companions):
                _end_children(self._tracker, run)
            return run

    def _begin_to_record(self) -> None:
        """Have the companions listen, and record what is executed."""
        for companion in self._kernel.companions:
            companion.open(self._tracker)
        self.recorder.put(SOURCE, self._source.content)
        for name, value in self._large.items():
            path = f"{LONG_PARAMETERS}/{name}.json"
            self.recorder.put(path, self._redactor.text(json.dumps(value)).encode())
            self.recorder.notice(f"the parameter {name!r} does not fit into the record: it is the file {path}")
        for index, findings in enumerate(_findings(self._source.cells)):
            for finding in findings:
                self.recorder.notice(
                    f"{Path(self._source.path).name}, {cell_name(index)}, line {finding.line}: this looks like a "
                    f"secret ({finding.what}); the notebook is recorded as it is, so better pass it as a parameter"
                )

    @property
    def executed(self) -> Any:
        """The executed notebook, without secrets."""
        return self._state.shown()

    def _reason(self) -> Reason | None:
        """Why the execution ended otherwise than well."""
        known = self._state.reason
        if self._cancelled is not None and (known is not None or self.failure is not None):
            return _amended(known, self._cancelled)
        if isinstance(self.failure, KeyboardInterrupt):
            return _amended(known, Reason(kind=ReasonKind.CANCELLED, message="cancelled by SIGINT"))
        if isinstance(self.failure, DeadKernelError):
            if self._kernel.is_alive():
                return Reason(kind=ReasonKind.KERNEL_DIED, message=str(self.failure))
            died = self._kernel.why_it_died()
            if died.traceback is not None:
                died = msgspec.structs.replace(died, traceback=plain(self._redactor.text(died.traceback)))
            return _amended(known, died)
        if known is None and self.failure is not None:
            return self._told(self.failure)
        return known

    def _told(self, failure: BaseException) -> Reason:
        return Reason(kind=ReasonKind.ERROR, message=plain(self._redactor.text(f"{type(failure).__name__}: {failure}")))

    def _complete(self, reason: Reason | None, output: Path | None) -> None:
        """Ask the kernel to end, and meanwhile record what the execution left."""
        intact = reason is None or reason.kind is ReasonKind.CELL_ERROR
        if intact and not self._kernel.tells_modules:
            self._modules = self._ask(f"{MODULES_PROBE}(0)")
        self.recorder.sample_last()
        self._client.ask_to_end(idle=self.failure is None)
        content = written(self.executed)
        self.recorder.put_executed(content)
        # One a line: what Python itself indents takes several times as long.
        cells = ",\n ".join(map(json.dumps, self._state.cells()))
        self.recorder.put(CELLS, f"[\n {cells}\n]".encode())
        if output is not None:
            write_atomically(output, content + b"\n")
        if not self._kernel.ends_at_once:
            self.recorder.store()

    def _imported(self) -> Iterator[str]:
        """The files of modules that the kernel, which has ended, had imported and that belong to no installation."""
        told = self._modules
        if self._kernel.tells_modules:
            with contextlib.suppress(ValueError):  # it was killed
                told = json.loads(self._kernel.modules)
        files = [*self._kernel.shared.files, *(told if isinstance(told, list) else ())]
        return (file for file in files if isinstance(file, str))

    def _describe(self) -> None:
        """Ask the kernel what it is, have that recorded, and say what is missing in it."""
        if self._kernel.shared.interpreter is not None:
            self._interpreter = self._kernel.shared.interpreter
        elif self._kernel.language == "python":
            answer = self._ask(PROBE)
            with contextlib.suppress(msgspec.ValidationError):  # another answer than ours is as good as none
                self._interpreter = msgspec.convert(answer, Interpreter)
        kernel = {
            "name": self._kernel.name,
            "display_name": self._kernel.spec.display_name,
            "language": self._kernel.language,
            "command": self._kernel.spec.argv,
        }
        self._capture.start(self._interpreter, kernel, self._kernel.shared)
        if self._interpreter is None:
            self.recorder.notice(
                f"the kernel {self._kernel.name!r} ({self._kernel.language}) is recorded from outside; to log from "
                f"its cells, display outputs of the type {MIME_TYPE}"
            )
        elif not self._interpreter.logs:
            self.recorder.notice(
                f"the kernel {self._kernel.name!r} has no jupyter_mlops in {self._interpreter.prefix}: it is recorded "
                "from outside; to log from its cells, install jupyter-mlops there"
            )

    def _ask(self, expression: str) -> Json | None:
        if self._interpreter is None and expression is not PROBE:
            return None
        try:
            return self._client.ask(expression)
        except (RuntimeError, OSError):  # the connection broke; the kernel's end is noticed elsewhere
            return None

    def _signalled(self, signal_name: str) -> None:
        self._cancel(why_cancelled(self._cancel_note, f"cancelled by {signal_name}"))

    def _cancel(self, reason: Reason) -> None:
        if self._over.is_set() or self._cancelled is not None:
            return
        self._cancelled = reason
        self._kernel.kill()
        self._client.cancel()


@functools.lru_cache(maxsize=1)
def _findings(cells: tuple[str, ...]) -> tuple[tuple[Finding, ...], ...]:
    """What looks like a secret in each cell, for all points of a sweep."""
    return tuple(map(find_secrets, cells))


def _begin(tracker: Tracker, new: NewRun, kernel: Kernel) -> Run:
    runner = this_runner(kernel.pid)
    run = tracker.runs.create(msgspec.structs.replace(new, runner=runner))
    if run.runner == runner:
        return run
    # One whose turn a queue has said it is, is RUNNING before anybody runs it.
    has_turn = run.status is RunStatus.RUNNING and run.runner is None
    if run.status is not RunStatus.SCHEDULED and not has_turn:
        raise Conflict(f"run {run.run_id} ({run.name}) was begun before; it is {run.status.value}")
    tracker.runs.log(run.run_id, new.batch)
    return tracker.runs.change(run.run_id, RunChange(status=RunStatus.RUNNING, runner=runner))


def _end_children(tracker: Tracker, run: Run) -> None:
    """End, as the run did, what its code began through MLflow's client and did not end; others have a runner."""
    for child in tracker.runs.children(run.run_id):
        _end_children(tracker, child)
        if child.runner is None and not child.status.ended:
            tracker.runs.change(child.run_id, RunChange(status=run.status, end_time=run.end_time))


def _status(reason: Reason | None) -> RunStatus:
    if reason is None:
        return RunStatus.FINISHED
    cancelled = reason.kind in (ReasonKind.CANCELLED, ReasonKind.STOPPED)
    return RunStatus.KILLED if cancelled else RunStatus.FAILED


def _amended(known: Reason | None, reason: Reason) -> Reason:
    """``reason``, at the cell that is known."""
    if known is None:
        return reason
    return msgspec.structs.replace(reason, cell=known.cell, source=known.source)
