"""Papermill's state of an execution, telling a recorder what happens."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from papermill.engines import NotebookExecutionManager
from papermill.iorw import papermill_io, write_ipynb
from papermill.log import logger as papermill_logger

from jupyter_mlops.core.reasons import error_kind
from jupyter_mlops.core.records import Json, Progress, Reason, ReasonKind
from jupyter_mlops.recording.recorder import Recorder, write_atomically
from jupyter_mlops.recording.redactor import Redactor

LARGEST_TEXT = 50_000
"""Characters of a message, source or traceback that are kept as the reason of a failure."""
_PAUSE = 5
"""A save of the notebook is followed by a pause of so many times what it took."""
_REPLAYED_SECONDS = 0.2
"""How soon what cells gave that were executed before is saved, unless another cell ends until then."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class RecordingState(NotebookExecutionManager):  # type: ignore[misc]
    """Papermill's state of an execution. It saves without secrets, and knows why the execution ended badly."""

    def __init__(
        self,
        notebook: Any,
        recorder: Recorder,
        redactor: Redactor,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        output: Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(notebook, **options)
        self.reason: Reason | None = None
        self.ended_early = False
        """The notebook itself said that it is done, by ``sys.exit()``."""
        self.progress = Progress(done=0, total=len(notebook.cells))
        self._recorder = recorder
        self._redactor = redactor
        self._on_progress = on_progress
        self._output = output
        self._clock = 0.0
        self._saved_at = self._save_took = 0.0
        self._later: asyncio.TimerHandle | None = None
        """A save that waits."""
        self.replayed: Collection[int] = ()
        """Cells that were executed before; nobody waits for what they give until the last of them has given it."""
        self.is_stored_at_once = False
        """Whether the whole is stored behind the last cell without asking the kernel for anything."""
        self.seconds: dict[int, float] = {}
        """How long each cell took."""

    def shown(self) -> Any:
        """The executed notebook as it is now, without secrets."""
        return self._redactor.notebook(self.nb)

    def save(self, **_: Any) -> None:
        if self.output_path:
            if self.end_time is None:
                # Not as nbformat writes it, which would be most of what recording takes: this happens twice a cell.
                papermill_io.write(json.dumps(self.shown(), sort_keys=True), self.output_path)
            else:
                write_ipynb(self.shown(), self.output_path)
        self.last_save_time = self.now()

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        self._clock = time.perf_counter()
        super().cell_start(cell, cell_index, **kwargs)

    def cell_exception(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        super().cell_exception(cell, cell_index, **kwargs)
        error = kwargs.get("exception")
        if isinstance(error, CellExecutionError) and (error.ename, error.evalue) in (
            ("SystemExit", ""),
            ("SystemExit", "0"),
        ):
            self.ended_early = True
        elif isinstance(error, CellExecutionError) and cell_index is not None:
            self.reason = self.reason or self._cell_error(error.ename, error.evalue, cell, cell_index)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **_: Any) -> None:
        failure = sys.exc_info()[1]
        if failure is not None and not isinstance(failure, CellExecutionError):
            # Papermill would call the cell completed.
            super().cell_exception(cell, cell_index)
            self.reason = self.reason or self._failure(failure, cell, cell_index)
        self._redactor.cell(cell)
        assert cell_index is not None
        self._note_end(cell, cell_index)
        self.seconds[cell_index] = time.perf_counter() - self._clock
        failed = int(cell.metadata.papermill["status"] == self.FAILED and not self.ended_early)
        self.progress = Progress(done=cell_index + 1, total=len(self.nb.cells), failed=failed)
        if cell_index + 1 in self.replayed:
            return
        if not (self.is_stored_at_once and self.progress.done == self.progress.total):
            self._save_in_time(at_least=_REPLAYED_SECONDS if cell_index in self.replayed else 0.0)
        self._recorder.progress(self.progress)
        if self._on_progress is not None:
            self._on_progress(self.progress)

    def _note_end(self, cell: Any, cell_index: int) -> None:
        """What papermill's own ``cell_complete`` does, which takes the time when the cell began from its text as one of
        any format: that takes many times as long as all the rest."""
        metadata, now = cell.metadata.papermill, self.now()
        if self.log_output:
            papermill_logger.info(f"Ending Cell {cell_index + 1:-<43}")
            sys.stdout.flush()
            sys.stderr.flush()
        metadata["end_time"] = now.isoformat()
        if metadata.get("start_time"):
            metadata["duration"] = (now - datetime.fromisoformat(metadata["start_time"])).total_seconds()
        if metadata["status"] != self.FAILED:
            metadata["status"] = self.COMPLETED
        self.save()
        if self.pbar:
            self.pbar.update(1)

    def notebook_complete(self, **options: Any) -> None:
        # What is recorded of the whole comes at once, and the next run goes on in the same loop.
        self._save_no_more()
        super().notebook_complete(**options)

    def _save_in_time(self, at_least: float) -> None:
        """Save in so many seconds or, where that takes long, so much later that it takes a small part of the time."""
        pause = max(self._saved_at + _PAUSE * self._save_took - time.perf_counter(), at_least)
        if pause <= 0:
            self._save_executed()
        elif self._later is None:
            # The loop runs while a cell does.
            self._later = ensure_event_loop().call_later(pause, self._save_executed)

    def _save_no_more(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _save_executed(self) -> None:
        began = time.perf_counter()
        self._save_no_more()
        content = self._recorder.save_executed(self.shown())
        if self._output is not None:
            try:
                write_atomically(self._output, content)
            except OSError as error:
                self._recorder.notice(f"{self._output} cannot be written: {error.strerror}")
        self._saved_at = time.perf_counter()
        self._save_took = self._saved_at - began

    def cells(self) -> list[dict[str, Json]]:
        """What each cell that was reached took and how it ended."""
        return [
            {
                "index": index,
                "id": cell.get("id"),
                "type": cell.cell_type,
                "status": cell.metadata.papermill["status"],
                "started": cell.metadata.papermill["start_time"],
                "seconds": round(self.seconds[index], 6),
                "execution_count": cell.get("execution_count"),
            }
            for index, cell in enumerate(self.nb.cells)
            if index in self.seconds
        ]

    def first_error(self) -> Reason | None:
        """The first error among the outputs, which papermill's own command takes for a failure wherever it is."""
        for index, cell in enumerate(self.nb.cells):
            for output in cell.get("outputs", ()):
                if output.output_type == "error" and (output.ename, output.evalue) not in (
                    ("SystemExit", ""),
                    ("SystemExit", "0"),
                ):
                    return self._cell_error(output.ename, output.evalue, cell, index)
        return None

    def _cell_error(self, name: str, value: str, cell: Any, index: int) -> Reason:
        traceback: list[str] = next((o.traceback for o in cell.get("outputs", ()) if o.output_type == "error"), [])
        return Reason(
            kind=error_kind(name),
            # Kernels of some languages name no kind of error.
            message=plain(self._redactor.text(": ".join(filter(None, (name, value))) or "an error without a name")),
            cell=index,
            source=plain(self.shown().cells[index].source),
            traceback=plain("\n".join(traceback)),
        )

    def _failure(self, failure: BaseException, cell: Any, index: int | None) -> Reason:
        kind = ReasonKind.TIMEOUT if isinstance(failure, CellTimeoutError) else ReasonKind.ERROR
        if isinstance(failure, CellTimeoutError):
            message = str(failure).splitlines()[0]
        else:
            message = f"{type(failure).__name__}: {failure}"
        source = cell.source if index is None else self.shown().cells[index].source
        return Reason(kind=kind, message=plain(self._redactor.text(message)), cell=index, source=plain(source))


def plain(text: str) -> str:
    """The text without terminal colours and what no database takes, its middle left out when it is very long."""
    text = _ANSI.sub("", text).encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return middle_left_out(text)


def middle_left_out(text: str) -> str:
    """The text, without its middle when it is longer than :data:`LARGEST_TEXT`."""
    half = LARGEST_TEXT // 2
    return text if len(text) <= LARGEST_TEXT else f"{text[:half]}\n[...]\n{text[-half:]}"
