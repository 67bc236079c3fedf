"""Papermill's notebook client, telling a recorder what happens."""

from __future__ import annotations

import contextlib
import json
import time
from ast import literal_eval
from pathlib import Path
from queue import Empty
from typing import Any

import zmq.asyncio
from jupyter_core.utils import run_sync
from nbclient.client import timestamp
from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from nbclient.util import ensure_async
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output

from jupyter_mlops.core.records import Json
from jupyter_mlops.core.redaction import Withheld
from jupyter_mlops.recording.asking import AskingClient
from jupyter_mlops.recording.iopub import OutputChannel
from jupyter_mlops.recording.kernel import Kernel
from jupyter_mlops.recording.output_limit import EACH, OutputLimit, size_of
from jupyter_mlops.recording.outputs import read_output
from jupyter_mlops.recording.recorder import Recorder
from jupyter_mlops.recording.redactor import Redactor
from jupyter_mlops.recording.shellchannel import RequestChannel
from jupyter_mlops.recording.state import LARGEST_TEXT, RecordingState, middle_left_out

_WAITING_MESSAGES = 50_000
"""How many messages of outputs may come until they are received; beyond, they are lost. ZeroMQ's own 1,000 a display
that is updated in a loop exceeds at once."""
_RECONNECT_MS = 10
"""How soon a channel tries again while the kernel is not listening yet; ZeroMQ's own 100 ms would be waited in full."""
_FIRST_PATIENCE, _LONGEST_PATIENCE = 0.01, 0.32
"""How many seconds a channel may take for what the other one has brought already, before a kernel is asked again."""
_SEPARATE_OUTPUTS = 1_000
"""From so many outputs of a cell on, printed text is put to that before it, up to :data:`_LARGEST_FOLDED` characters:
each output by itself takes far more memory than its text."""
_LARGEST_FOLDED = 1 << 16
_ANSWER_SECONDS = 10.0


class RecordingClient(AskingClient):
    """Executes the cells in a kernel that was started before, and hands what outputs log to the recorder."""

    km: Any

    def __init__(
        self, state: RecordingState, kernel: Kernel, recorder: Recorder, redactor: Redactor, cwd: Path, **options: Any
    ) -> None:
        super().__init__(state, recorder, km=kernel.manager, **options)
        self._kernel = kernel
        self._redactor = redactor
        self._cwd = cwd
        self._limit = OutputLimit()
        self._withheld: dict[str, tuple[Withheld, dict[str, Any]]] = {}
        """By stream, what of its text waits for more, and the last message of it."""

    def connect(self) -> None:
        """Wait until the kernel answers; ``DeadKernelError`` when it dies or takes longer than ``startup_timeout``."""
        self.kc = self._kernel.client()
        if self.kc is None:
            self.start_new_kernel_client()

    def ask_to_end(self, *, idle: bool) -> None:
        """Have the kernel end, without waiting, and disconnect; a kernel that is not idle is interrupted first."""
        self._kernel.ask_to_end(self.kc, idle=idle)
        if self.kc is not None:
            self.kc.shell_channel.stop()
            self.kc.iopub_channel.stop()
            self.kc = None

    def cancel(self) -> None:
        """Give up waiting for the cell that is executing; callable from any thread. The kernel must be dead already."""
        task = self.task_poll_for_reply
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def async_start_new_kernel_client(self) -> Any:
        # One for all, as each has threads.
        self.kc = self.km.client(context=zmq.asyncio.Context.instance())
        self.kc.iopub_channel_class = OutputChannel
        self.kc.shell_channel_class = RequestChannel
        self.kc.context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self.kc.context.setsockopt(zmq.RCVHWM, _WAITING_MESSAGES)
        # Whether it lives is asked of its process, and it may not ask for input.
        self.kc.start_channels(stdin=False, hb=False, control=False)
        await self._until_ready()
        return self.kc

    start_new_kernel_client = run_sync(async_start_new_kernel_client)

    async def _until_ready(self) -> None:
        """Wait for an answer on both channels. (The client's own way then listens for silence for another 0.2 s.)"""
        deadline = time.monotonic() + self.startup_timeout
        patience = _FIRST_PATIENCE
        while True:
            if await self._replied(self.kc.kernel_info(), 1.0):
                if await self._hears(patience):
                    return
                # It was said before the kernel knew of this listener: asking again is quicker than waiting.
                patience = min(2 * patience, _LONGEST_PATIENCE)
            if not self._kernel.is_alive():
                raise DeadKernelError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise DeadKernelError(f"Kernel did not respond in {self.startup_timeout:g} seconds")

    async def _replied(self, request: str, seconds: float) -> bool:
        try:
            while True:
                message = await ensure_async(self.kc.shell_channel.get_msg(timeout=seconds))
                if message["parent_header"].get("msg_id") == request:
                    return True
        except Empty:
            return False

    async def _hears(self, seconds: float) -> bool:
        """Whether the kernel knows of this listener: anything that comes shows it."""
        try:
            await self.kc.iopub_channel.get_msg(timeout=seconds)
        except Empty:
            return False
        return True

    def execute(self, **options: Any) -> Any:
        if self._kernel.shared.language is None:
            return super().execute(**options)
        # As papermill's own, but that nothing needs to be asked for.
        self.reset_execution_trackers()
        with self.setup_kernel(**options):
            self.papermill_execute_cells()
            self.nb.metadata["language_info"] = dict(self._kernel.shared.language)
            self.set_widgets_metadata()
        return self.nb

    def set_widgets_metadata(self) -> None:
        super().set_widgets_metadata()
        self._redactor.widgets(self.nb)

    async def _async_ask(self, expression: str) -> Json | None:
        request = self.kc.execute("", silent=True, user_expressions={"answer": expression})
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0 and self._kernel.is_alive():
            try:
                message = await ensure_async(self.kc.shell_channel.get_msg(timeout=min(1.0, left)))
            except Empty:
                continue
            if message["parent_header"].get("msg_id") == request:
                answer = message["content"].get("user_expressions", {}).get("answer", {})
                text = answer.get("data", {}).get("text/plain")
                # How a text is shown, and what functions do, a notebook may have changed.
                with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError):
                    return None if text is None else json.loads(literal_eval(text))
                return None
        return None

    ask = run_sync(_async_ask)
    """The value of a Python expression that makes JSON text, without a trace in the session; None when the kernel does
    not say."""

    async def async_execute_cell(self, cell: Any, cell_index: int, *arguments: Any, **options: Any) -> Any:
        try:
            if cell_index in self._kernel.replayed:
                return await self._replay(cell, cell_index)
            return await super().async_execute_cell(cell, cell_index, *arguments, **options)
        finally:
            self._give_out(cell.get("outputs", []), cell_index)

    execute_cell = run_sync(async_execute_cell)

    async def _replay(self, cell: Any, cell_index: int) -> Any:
        """Take what the kernel's messages told of a cell that it executed before."""
        self.code_cells_executed += 1
        if self.record_timing:
            cell["metadata"]["execution"] = {}
        cell.outputs = []
        self.clear_before_next_output = False
        reply = None
        for kept in self._kernel.replayed[cell_index]:
            # Processing changes its text.
            message = {**kept, "content": dict(kept["content"])}
            if message["channel"] == "shell":
                reply = message
                if self.record_timing:
                    cell["metadata"]["execution"]["shell.execute_reply"] = timestamp(message)
                continue
            with contextlib.suppress(CellExecutionComplete):
                self.process_message(message, cell, cell_index)
        await self._check_raise_for_error(cell, cell_index, reply)
        return cell

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        if self.clear_before_next_output:
            self._limit.clear(cell_index)
        if msg["msg_type"] == "stream":
            content = msg["content"]
            if not self._within_limit(content, cell_index):
                return None
            withheld, _ = self._withheld.get(content["name"]) or (self._redactor.stream(), msg)
            self._withheld[content["name"]] = withheld, msg
            content["text"] = withheld.add(content["text"])
            return self._output(outs, msg, display_id, cell_index) if content["text"] else None
        self._give_out(outs, cell_index)
        return self._output(outs, msg, display_id, cell_index)

    def clear_output(self, outs: list[Any], msg: dict[str, Any], cell_index: int) -> None:
        self._give_out(outs, cell_index)
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self._limit.clear(cell_index)

    def _give_out(self, outs: list[Any], cell_index: int) -> None:
        """Output what is withheld: something else follows."""
        for withheld, msg in self._withheld.values():
            msg["content"]["text"] = withheld.end()
            out = self._output(outs, msg, None, cell_index) if msg["content"]["text"] else None
            if out:
                self.log_output_message(out)
        self._withheld.clear()

    def _output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        out = self._printed(outs, msg, cell_index) or super().output(outs, msg, display_id, cell_index)
        if out:
            logged = read_output(out, self._cwd)
            out = self._kept(outs, cell_index)
            if logged:
                self._recorder.take(self._redactor.logged(logged))
        return out

    def _printed(self, outs: list[Any], msg: dict[str, Any], cell_index: int) -> Any:
        """Take printed text as the client does, but for comparing each part of it with the format, which takes far
        longer; None for another message, and where a widget takes it."""
        content, parent = msg["content"], msg["parent_header"].get("msg_id")
        is_text = msg["msg_type"] == "stream" and all(type(content.get(key)) is str for key in ("name", "text"))
        if not is_text or self.output_hook_stack.get(parent):
            return None
        if self.clear_before_next_output:
            outs[:] = []
            self.clear_display_id_mapping(cell_index)
            self.clear_before_next_output = False
        outs.append(NotebookNode(output_type="stream", name=content["name"], text=content["text"]))
        return outs[-1]

    def _kept(self, outs: list[Any], cell_index: int) -> Any:
        """The last output as it is kept, without secrets: the first one that finds no room becomes a line that says so,
        those behind it are None and gone."""
        out = outs[-1]
        is_full = self._limit.is_full(cell_index)
        if out["output_type"] == "stream":
            # Its text was counted when it came.
            self._redactor.output(out)
            _fold(outs)
            if len(outs) > _SEPARATE_OUTPUTS and outs[-1] is out:
                self._limit.add(cell_index, EACH)
        elif out["output_type"] == "error" and (
            self._limit.room(cell_index) > 0 or [before["output_type"] for before in outs[-2:-1]] != ["error"]
        ):
            # What ended the cell is told in any case.
            self._redactor.output(out)
            self._limit.add(cell_index, EACH)
            out["evalue"] = middle_left_out(out["evalue"])
            if sum(map(len, out["traceback"])) > LARGEST_TEXT:
                out["traceback"] = middle_left_out("\n".join(out["traceback"])).split("\n")
        elif is_full:
            outs.pop()
            return None
        elif (size := size_of(out)) <= self._limit.room(cell_index):
            self._redactor.output(out)
            self._limit.add(cell_index, size)
        else:
            out = outs[-1] = new_output("stream", name="stderr", text=self._limit.fill(cell_index))
        return out

    def _update_display_id(self, display_id: str, msg: dict[str, Any]) -> None:
        # The client's own way would validate each of perhaps thousands of updates, more slowly than they come.
        places = self._display_id_map.get(display_id)
        if not places:
            return
        content = msg["content"]
        data, metadata = from_dict(content["data"]), from_dict(content["metadata"])
        shown = {"output_type": "display_data", "data": data, "metadata": metadata}
        self._redactor.output(shown)
        for cell, outputs in places.items():
            kept = self.nb.cells[cell].outputs
            for output in outputs:
                # What was shown there may have been left out.
                if output < len(kept) and "data" in kept[output]:
                    self._replace(kept[output], shown["data"], shown["metadata"], cell)

    def _replace(self, shared: Any, data: Any, metadata: Any, cell_index: int) -> None:
        before = size_of(shared)
        shared.data, shared.metadata = data, metadata
        if size_of(shared) - before > self._limit.room(cell_index):
            shared.data = from_dict({"text/plain": f"[left out: an update of {size_of(shared):,} characters]"})
        self._limit.add(cell_index, size_of(shared) - before)

    def _within_limit(self, content: dict[str, Any], index: int) -> bool:
        """Whether printed text is kept; the text that passes the limit is cut there and says so."""
        if self._limit.is_full(index):
            return False
        room, size = max(0, self._limit.room(index)), len(content["text"])
        self._limit.add(index, min(room, size))
        if size > room:
            content["text"] = f"{content['text'][:room]}\n{self._limit.fill(index)}"
        return True


def _fold(outputs: list[Any]) -> None:
    """Put the last output to the one before it, where there are many and both were printed."""
    if len(outputs) <= _SEPARATE_OUTPUTS:
        return
    before, last = outputs[-2:]
    if (
        before["output_type"] == last["output_type"] == "stream"
        and before["name"] == last["name"]
        and len(before["text"]) < _LARGEST_FOLDED
    ):
        before["text"] += last["text"]
        outputs.pop()


__all__ = ["DeadKernelError", "RecordingClient"]
