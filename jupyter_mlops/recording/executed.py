"""The executed notebook as a file."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from nbformat import NotebookNode
from nbformat.v4.nbjson import BytesEncoder
from nbformat.v4.rwbase import split_lines, strip_transient

_BEFORE, _BEHIND = b'{\n "cells": [\n', b'\n ],\n "metadata": {}\n}'
"""What stands around the cell, in a notebook of a single one and nothing else."""
_NO_CELLS = b'"cells": []'


def written(notebook: Any) -> bytes:
    """A notebook of format 4 as nbformat writes it.

    That copies the whole, checks it and has all its lines as texts of their own, which takes many times its size; here
    one cell at a time is written, nothing of it is copied that stays as it is, and nothing is checked: what kernels
    sent is kept as it is.
    """
    around = _formatted(NotebookNode(notebook, cells=[], metadata=NotebookNode(notebook.metadata)))
    if not notebook.cells:
        return around
    # Keys are sorted: no other comes before.
    before, _, behind = around.partition(_NO_CELLS)
    parts: list[bytes | memoryview] = [before, b'"cells": [\n']
    for cell in notebook.cells:
        parts += (_cell(cell), b",\n")
    parts[-1] = b"\n ]"
    parts.append(behind)
    return b"".join(parts)


def _cell(cell: Any) -> memoryview:
    alone = NotebookNode(cells=[_copied(cell)], metadata=NotebookNode())
    return memoryview(_formatted(alone))[len(_BEFORE) : -len(_BEHIND)]


def _formatted(notebook: Any) -> bytes:
    """A notebook as nbformat writes it, which changes it in place."""
    prepared = strip_transient(split_lines(notebook))
    # What a cell prints may hold halves of characters, which no file can.
    content = _json(prepared, separators=(",", ":")).encode("utf-8", "replace")
    try:
        # What Python itself indents takes several times as long.
        return msgspec.json.format(content, indent=1)
    except msgspec.DecodeError:  # NaN, which is JSON to Python only
        return _json(prepared, separators=(",", ": "), indent=1).encode("utf-8", "replace")


def _json(prepared: Any, **layout: Any) -> str:
    return json.dumps(prepared, cls=BytesEncoder, sort_keys=True, ensure_ascii=False, **layout)


def _copied(cell: Any) -> Any:
    """The cell, with copies of what nbformat changes in place."""
    copied = NotebookNode(cell, metadata=NotebookNode(cell.metadata))
    if "outputs" in cell:
        copied["outputs"] = [
            NotebookNode(output, data=NotebookNode(output.data)) if "data" in output else NotebookNode(output)
            for output in cell.outputs
        ]
    if "attachments" in cell:
        copied["attachments"] = NotebookNode({name: NotebookNode(bundle) for name, bundle in cell.attachments.items()})
    return copied
