"""A notebook client that asks a kernel whether a cell's outputs are all, when it tells no more of them."""

from __future__ import annotations

import time
from typing import Any

from nbclient.exceptions import CellExecutionComplete
from papermill.clientwrap import PapermillNotebookClient

from jupyter_mlops.recording.recorder import Recorder

_SILENCE_SECONDS = 5.0
"""How long the outputs of a cell that the kernel has answered for may pause until it is asked."""


class AskingClient(PapermillNotebookClient):  # type: ignore[misc]
    """Ends a cell, with a notice, also where the message that ends its outputs was lost on its way."""

    kc: Any

    def __init__(self, state: Any, recorder: Recorder, **options: Any) -> None:
        super().__init__(state, **options)
        self._recorder = recorder
        self._executing: Any = {}
        self._heard_at = 0.0
        self._questions: set[str] = set()

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: Any, cell_index: int) -> None:
        self._executing, self._questions = cell, set()
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=None)
            self._heard_at = time.monotonic()
            parent = message["parent_header"].get("msg_id")
            if parent == parent_msg_id:
                try:
                    self.process_message(message, cell, cell_index)
                except CellExecutionComplete:
                    return
            elif parent in self._questions:
                # Messages come in order, and this one belongs to a later request.
                self._recorder.notice(
                    f"outputs of cell {cell_index + 1} may be missing: the kernel could not send them in time"
                )
                return

    async def _async_check_alive(self) -> None:
        await super()._async_check_alive()
        is_answered = "shell.execute_reply" in self._executing.get("metadata", {}).get("execution", ())
        if is_answered and time.monotonic() - self._heard_at > _SILENCE_SECONDS:
            # ZeroMQ drops what a kernel publishes faster than it is taken, be it that the cell has ended.
            self._questions.add(self.kc.kernel_info())
            self._heard_at = time.monotonic()
