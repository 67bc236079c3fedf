"""A notebook client that asks a kernel which has fallen silent, where it should have said something."""

from __future__ import annotations

import time
from typing import Any

from nbclient.exceptions import CellExecutionComplete
from papermill.clientwrap import PapermillNotebookClient

from jupyter_mlops.recording.recorder import Recorder

_SILENCE_SECONDS = 5.0
"""How long a kernel may say nothing that it should say: that it begins a cell, or the rest about one that it has
executed."""


class AskingClient(PapermillNotebookClient):  # type: ignore[misc]
    """Ends a cell, with a notice, also where the message that ends its outputs was lost on its way; and has a request
    or its reply found that lies unnoticed at its receiver.

    ZeroMQ signals once that something came, and ipykernel 7.0 to 7.3 take such a signal at times without looking. What
    came then is found together with the next message.
    """

    kc: Any

    def __init__(self, state: Any, recorder: Recorder, **options: Any) -> None:
        super().__init__(state, **options)
        self._recorder = recorder
        self._executing: Any = {}
        self._is_busy = False
        """Whether the kernel has begun the cell, and may well be silent."""
        self._heard_at = 0.0
        self._questions: set[str] = set()

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: Any, cell_index: int) -> None:
        self._executing, self._questions, self._is_busy = cell, set(), False
        self._heard_at = time.monotonic()
        while True:
            message = await self.kc.iopub_channel.get_msg(timeout=None)
            self._heard_at = time.monotonic()
            parent = message["parent_header"].get("msg_id")
            if parent == parent_msg_id:
                self._is_busy = True
                try:
                    self.process_message(message, cell, cell_index)
                except CellExecutionComplete:
                    self._is_busy = False
                    return
            elif parent in self._questions:
                # Messages come in order, and this one belongs to a later request.
                self._is_busy = False
                self._recorder.notice(
                    f"outputs of cell {cell_index + 1} may be missing: the kernel could not send them in time"
                )
                return

    async def _async_check_alive(self) -> None:
        await super()._async_check_alive()
        if time.monotonic() - self._heard_at <= _SILENCE_SECONDS:
            return
        is_answered = "shell.execute_reply" in self._executing.get("metadata", {}).get("execution", ())
        if is_answered or not self._is_busy:
            question = self.kc.kernel_info()
            self._heard_at = time.monotonic()
            if is_answered:
                # ZeroMQ drops what a kernel publishes faster than it is taken, be it that the cell has ended.
                self._questions.add(question)
