"""When the executed notebook is saved."""

from __future__ import annotations

import time
from typing import Any, cast

from jupyter_core.utils import ensure_event_loop
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_mlops.recording.client import _PAUSE, RecordingState
from jupyter_mlops.recording.recorder import Recorder
from jupyter_mlops.recording.redactor import Redactor

SECONDS = 0.01
"""What a save takes."""


class SlowSaves:
    """Of a recorder, what a state needs."""

    def __init__(self) -> None:
        self.count = 0

    def save_executed(self, notebook: Any) -> bytes:
        self.count += 1
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            pass
        return b""

    def progress(self, _: object) -> None:
        pass


def test_a_save_that_waits_is_given_up_at_the_end() -> None:
    saves = SlowSaves()
    notebook = new_notebook(cells=[new_code_cell("a"), new_code_cell("b")], metadata={"papermill": {}})
    state = RecordingState(notebook, cast("Recorder", saves), Redactor({}), progress_bar=False)
    state.notebook_start()
    for index, cell in enumerate(notebook.cells):
        state.cell_start(cell, index)
        state.cell_complete(cell, index)
    state.notebook_complete()
    saved = saves.count

    # The loop is that of the next run, too. Its timers go off in their order.
    loop = ensure_event_loop()
    later = loop.create_future()
    loop.call_later(2 * _PAUSE * SECONDS, later.set_result, None)
    loop.run_until_complete(later)
    assert saves.count == saved
