"""Keeping a copy of what code displays, in the form notebooks have it, while it is displayed as ever."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_mlops.core.records import Json

LONGEST_STREAM = 20_000_000
"""Characters of printed text that are kept of one cell."""


class Outputs:
    """The outputs of a cell, as a notebook of format 4 has them."""

    def __init__(self) -> None:
        self.items: list[dict[str, Json]] = []
        self._printed = 0
        self._displaying = False

    def stream(self, name: str, text: str) -> None:
        if self._displaying:
            return
        kept = text[: max(LONGEST_STREAM - self._printed, 0)]
        self._printed += len(text)
        last = self.items[-1] if self.items else None
        if last is not None and last["output_type"] == "stream" and last["name"] == name:
            last["text"] += kept
        elif kept:
            self.items.append({"output_type": "stream", "name": name, "text": kept})

    @contextmanager
    def displaying(self) -> Iterator[None]:
        """A terminal displays by printing: what is printed in the block is no output of its own."""
        before, self._displaying = self._displaying, True
        try:
            yield
        finally:
            self._displaying = before

    def display(self, data: dict[str, Any], metadata: dict[str, Any] | None) -> None:
        self.items.append({"output_type": "display_data", "data": _encoded(data), "metadata": metadata or {}})

    def result(self, count: int, data: dict[str, Any], metadata: dict[str, Any] | None) -> None:
        self.items.append(
            {
                "output_type": "execute_result",
                "execution_count": count,
                "data": _encoded(data),
                "metadata": metadata or {},
            }
        )

    def error(self, error: BaseException, traceback: str) -> None:
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - it is the user's class
            text = ""
        self.items.append(
            {
                "output_type": "error",
                "ename": type(error).__name__,
                "evalue": text,
                "traceback": traceback.split("\n"),
            }
        )


@contextmanager
def keeping(shell: Any) -> Iterator[Outputs]:
    """Keep what is printed and displayed in the block."""
    outputs = Outputs()
    publish, write_format_data = shell.display_pub.publish, shell.displayhook.write_format_data

    def publish_and_keep(data: Any, metadata: Any = None, **options: Any) -> Any:
        # An update changes what was displayed before, in whatever cell that was.
        if not options.get("update"):
            outputs.display(data, metadata)
        with outputs.displaying():
            return publish(data, metadata, **options)

    def write_and_keep(format_dict: Any, md_dict: Any = None) -> Any:
        outputs.result(shell.displayhook.prompt_count, format_dict, md_dict)
        with outputs.displaying():
            return write_format_data(format_dict, md_dict)

    with (
        _replaced(shell.display_pub, "publish", publish_and_keep),
        _replaced(shell.displayhook, "write_format_data", write_and_keep),
        _replaced(sys, "stdout", _Tee(sys.stdout, outputs, "stdout")),
        _replaced(sys, "stderr", _Tee(sys.stderr, outputs, "stderr")),
    ):
        yield outputs
        _flush_figures()


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute of an object (not of its class) replaced, and put back as it was."""
    attributes = vars(owner)
    was_there, before = name in attributes, attributes.get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if was_there:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


class _Tee:
    """A stream that also keeps what is written to it."""

    def __init__(self, stream: Any, outputs: Outputs, name: str) -> None:
        self._stream = stream
        self._outputs = outputs
        self._name = name

    def write(self, text: str) -> int:
        self._outputs.stream(self._name, text)
        written: int = self._stream.write(text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _flush_figures() -> None:
    """Show open figures now rather than at the end of the cell, when they would not be kept."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    matplotlib = sys.modules.get("matplotlib")
    if inline is not None and matplotlib is not None and "inline" in matplotlib.get_backend():
        inline.flush_figures()


def _encoded(data: dict[str, Any]) -> dict[str, Json]:
    return {
        mime: base64.b64encode(content).decode("ascii") if isinstance(content, bytes) else content
        for mime, content in data.items()
    }
