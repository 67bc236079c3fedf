"""The executed notebook as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import writes_json

_BEFORE, _BEHIND = '{\n "cells": [\n', '\n ],\n "metadata": {}\n}'
"""What stands around the cell, in a notebook of a single one and nothing else."""
_NO_CELLS = '"cells": []'


def written(notebook: Any) -> bytes:
    """A notebook of format 4 as nbformat writes it.

    That copies the whole, checks it and has all its lines as texts of their own, which takes many times its size; here
    one cell at a time is copied, and nothing is checked: what kernels sent is kept as it is.
    """
    around: bytes = writes_json(NotebookNode(notebook, cells=[])).encode("utf-8", "replace")
    if not notebook.cells:
        return around
    # Keys are sorted: no other comes before.
    before, _, behind = around.partition(_NO_CELLS.encode())
    return b'%b"cells": [\n%b\n ]%b' % (before, b",\n".join(_cells(notebook)), behind)


def _cells(notebook: Any) -> Iterator[bytes]:
    for cell in notebook.cells:
        text = writes_json(NotebookNode(cells=[cell], metadata=NotebookNode()))
        # What a cell prints may hold halves of characters, which no file can.
        yield text[len(_BEFORE) : -len(_BEHIND)].encode("utf-8", "replace")
