"""How much of what cells put out is kept: a run's record does not grow with a loop that prints or shows things."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

LARGEST_CELL = 32_000_000
"""Characters of outputs that are kept of one cell; a line says that more was left out."""
LARGEST_NOTEBOOK = 64_000_000
"""Characters of outputs that are kept of all cells."""
EACH = 1_000
"""Characters that an output counts for by itself: it takes so much memory besides its text."""


class OutputLimit:
    """What the outputs of a notebook's cells take, and the room that is left."""

    def __init__(self) -> None:
        self._kept: Counter[int] = Counter()
        self._in_all = 0
        self._full: set[int] = set()

    def room(self, cell: int) -> int:
        """Characters that a cell may still put out; negative when it is over its limit."""
        return min(LARGEST_CELL - self._kept[cell], LARGEST_NOTEBOOK - self._in_all)

    def is_full(self, cell: int) -> bool:
        """Whether something of the cell was left out, and said to be."""
        return cell in self._full

    def add(self, cell: int, size: int) -> None:
        """So many characters more of the cell are kept; fewer when ``size`` is negative."""
        self._kept[cell] += size
        self._in_all += size

    def fill(self, cell: int) -> str:
        """Nothing more of the cell is kept; gives the line that says so."""
        self._full.add(cell)
        if LARGEST_CELL - self._kept[cell] <= LARGEST_NOTEBOOK - self._in_all:
            return f"[what this cell put out beyond {LARGEST_CELL:,} characters was left out]\n"
        return f"[left out: the cells of this notebook put out more than {LARGEST_NOTEBOOK:,} characters]\n"

    def clear(self, cell: int) -> None:
        """The outputs of the cell are gone."""
        self._in_all -= self._kept.pop(cell, 0)
        self._full.discard(cell)


def size_of(output: Any) -> int:
    """The characters of what a cell shows, with what it counts for by itself."""
    parts = output["data"].values()
    return EACH + sum(len(part) if isinstance(part, str) else len(json.dumps(part)) for part in parts)
