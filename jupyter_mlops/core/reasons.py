"""Why a run ended, in words: the kind, the cell counted from 1 as people count, the number of its ``In [n]``."""

from __future__ import annotations

import re

from jupyter_mlops.core.records import Reason, ReasonKind

# IPython 8.4 and later write "Cell In[5], line 3", before that it was "Input In [5], in <cell line: 3>()".
_IN = re.compile(r"(?:Cell|Input) In ?\[(?P<count>\d+)\](?:, line (?P<line>\d+)|, in <cell line: (?P<at>\d+)>)?")
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "_ArrayMemoryError")


def error_kind(name: str) -> ReasonKind:
    """Why a run ended that an error of this name ended. Want of memory has names of its own in NumPy and PyTorch."""
    return ReasonKind.OUT_OF_MEMORY if name in _OUT_OF_MEMORY else ReasonKind.CELL_ERROR


def cell_name(index: int) -> str:
    """What people call the cell at ``index`` (from 0) of a notebook: the first is ``cell 1``."""
    return f"cell {index + 1}"


def place(reason: Reason, *, count: bool = True) -> str:
    """The cell where it ended: ``cell 7 (In [5])``, without ``In`` if not ``count``; empty if none is known."""
    if reason.cell is None:
        return ""
    found = _IN.search(reason.traceback or "") if count else None
    return cell_name(reason.cell) + (f" (In [{found['count']}])" if found else "")


def headline(reason: Reason) -> str:
    """What happened, where, and the message: ``cell error in cell 7 (In [5]): ValueError: too small``. The message may
    have several lines."""
    where, message = place(reason), reason.message.strip()
    if reason.kind is ReasonKind.ERROR and not where:
        return message
    if message.startswith(reason.kind.value):
        return f"{message} in {where}" if where else message
    return f"{reason.kind.value}{f' in {where}' if where else ''}: {message}"


def brief(reason: Reason) -> str:
    """The first line of :func:`headline`, for where it is plain that the run failed: of a cell's error only the place
    and the message are news."""
    first = reason.message.strip().partition("\n")[0]
    where = place(reason, count=False)
    if reason.kind in (ReasonKind.CELL_ERROR, ReasonKind.ERROR) and first:
        return f"{where}: {first}" if where else first
    if first.startswith(reason.kind.value):
        return f"{first} in {where}" if where else first
    words = f"{reason.kind.value} in {where}" if where else reason.kind.value
    return f"{words}: {first}" if first else words


def failing_line(reason: Reason) -> int | None:
    """The line of the failing cell (from 1) where the error left it, as far as the traceback says."""
    # A traceback tells the failing cell first, then what it called.
    found = _IN.search(reason.traceback or "")
    line = found and (found["line"] or found["at"])
    return int(line) if line else None
