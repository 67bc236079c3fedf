"""Recording one cell: what ran before it, and whether its result may depend on code that a reader no longer sees.

A kernel's state is the work of the cells in the order they *ran*; a notebook shows cells in the order they *stand*, as
they are now. :func:`find_hidden` compares the two, for those cells only that the recorded cell depends on by name. It
reads names from the code and does not follow values (two names of one list, changes made inside a function), so it can
miss a dependency; what it reports is there.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

import msgspec

from jupyter_mlops.core.records import Json
from jupyter_mlops.recording.names import Names, names_in

_TOLD = 4
"""How many findings, and names of each, a sentence lists."""


class ExecutedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that ran."""

    count: int
    """The kernel's execution count, as in ``In [3]``."""
    source: str
    """As typed."""
    code: str | None = None
    """As Python, magics turned into calls; ``source`` when None."""
    cell_id: str | None = None
    """The id of the notebook's cell, where the front end told it."""
    before: float | None = None
    """It began no later than this, in seconds since the epoch."""


class NotebookCell(msgspec.Struct, frozen=True, kw_only=True):
    """A code cell as it stands in the notebook."""

    source: str
    cell_id: str | None = None


class NotebookFile(msgspec.Struct, frozen=True, kw_only=True):
    """The code cells of a notebook on disk, in order, and when it was saved (seconds since the epoch)."""

    path: str
    saved: float
    cells: tuple[NotebookCell, ...]


class HiddenKind(str, Enum):
    EDITED = "edited since"
    DELETED = "deleted since"
    CHANGED = "edited or deleted since"
    OUT_OF_ORDER = "out of order"
    REPEATED = "ran more than once"
    UNKNOWN = "defined by no recorded cell"


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which state is hidden."""

    kind: HiddenKind
    names: tuple[str, ...]
    """What the recorded cell may have from it."""
    count: int | None = None
    """The cell's execution count; None when there is no such cell."""


def find_hidden(
    recorded: ExecutedCell,
    earlier: Sequence[ExecutedCell],
    notebook: NotebookFile | None = None,
    *,
    known: Iterable[str] = (),
) -> tuple[Hidden, ...]:
    """How the state that ``recorded`` starts from differs from what a reader of the notebook sees.

    Parameters
    ----------
    recorded
        The recorded cell; ``code`` is its body.
    earlier
        The cells that ran before it, in that order.
    notebook
        The notebook they stand in; when None, only repeated cells, versions of one cell and names of unknown origin are
        told. A cell is compared with the file only if the file was saved after the cell ran.
    known
        Names that need no definition: parameters of the run, and what the shell itself provides.
    """
    effects = [names_in(cell.code if cell.code is not None else cell.source) for cell in earlier]
    wanted = names_in(recorded.code if recorded.code is not None else recorded.source).read
    needed, relevant = _dependencies(wanted - frozenset(known), effects)
    keys = _identify(earlier, notebook)
    last = {key: index for index, key in enumerate(keys)}
    own = _identify([recorded], notebook)[0]
    found: list[Hidden] = []
    for index in relevant:
        cell, names = earlier[index], effects[index]
        if keys[index] == own:
            if names.written & wanted:
                repeated = tuple(sorted(names.written & wanted))
                found.append(Hidden(kind=HiddenKind.REPEATED, count=recorded.count, names=repeated))
            continue
        gives = tuple(sorted(names.written & needed))
        successor = last[keys[index]]
        if successor != index:
            newer = earlier[successor]
            if newer.source.strip() != cell.source.strip():
                gone = tuple(sorted(names.written & needed - effects[successor].replaced))
                if gone:
                    found.append(Hidden(kind=HiddenKind.EDITED, count=cell.count, names=gone))
            elif names.written & names.read & needed:
                repeated = tuple(sorted(names.written & names.read & needed))
                found.append(Hidden(kind=HiddenKind.REPEATED, count=newer.count, names=repeated))
        elif notebook is not None and cell.before is not None and notebook.saved > cell.before:
            kind = _compare(cell, notebook)
            if kind is not None:
                found.append(Hidden(kind=kind, count=cell.count, names=gives))
    if notebook is not None:
        order = [index for index in relevant if last[keys[index]] == index and keys[index] != own]
        found += _out_of_order(recorded, [(earlier[i], effects[i]) for i in order], notebook, needed)
    if not any(names.opaque for names in effects):
        origin = frozenset().union(*(names.bound for names in effects)) | frozenset(known) | frozenset(dir(builtins))
        unknown = tuple(sorted(wanted - origin))
        if unknown:
            found.append(Hidden(kind=HiddenKind.UNKNOWN, names=unknown))
    return tuple(dict.fromkeys(found))


def describe(found: Sequence[Hidden]) -> str | None:
    """A sentence for :attr:`jupyter_mlops.core.records.Run.hidden_state`; None when nothing is hidden."""
    if not found:
        return None
    told = [_phrase(hidden) for hidden in found[:_TOLD]]
    if len(found) > _TOLD:
        told.append(f"and {len(found) - _TOLD} more")
    return "may not be reproducible: " + "; ".join(told)


def as_notebook(
    cells: Sequence[tuple[ExecutedCell, Sequence[Json]]], hidden: Sequence[Hidden], *, language: str = "python"
) -> Json:
    """A notebook (format 4.5) of cells in the order they ran, each with its outputs. The metadata of a cell whose state
    is hidden says how."""
    marks: dict[int, list[str]] = {}
    for one in hidden:
        if one.count is not None:
            marks.setdefault(one.count, []).append(one.kind.value)
    return {
        "cells": [
            {
                "cell_type": "code",
                "id": f"in-{cell.count}",
                "execution_count": cell.count,
                "metadata": {"jupyter_mlops": {"hidden": marks[cell.count]}} if cell.count in marks else {},
                "source": cell.source,
                "outputs": list(outputs),
            }
            for cell, outputs in cells
        ],
        "metadata": {"language_info": {"name": language}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _dependencies(wanted: frozenset[str], effects: Sequence[Names]) -> tuple[frozenset[str], list[int]]:
    """All names that what is wanted depends on in any order of the cells, and the cells that write them."""
    needed: frozenset[str] = frozenset()
    relevant: list[int] = []
    grown = wanted
    while grown != needed:
        needed = grown
        relevant = [index for index, names in enumerate(effects) if names.opaque or names.written & needed]
        grown = needed.union(*(effects[index].read for index in relevant))
    return needed, relevant


def _identify(earlier: Sequence[ExecutedCell], notebook: NotebookFile | None) -> list[str]:
    """A key for each execution, equal for those of one cell of the notebook: its id, else its text."""
    ids = {} if notebook is None else {cell.source.strip(): cell.cell_id for cell in notebook.cells if cell.cell_id}
    return [cell.cell_id or ids.get(cell.source.strip()) or f"text {cell.source.strip()}" for cell in earlier]


def _compare(cell: ExecutedCell, notebook: NotebookFile) -> HiddenKind | None:
    """How ``cell`` as it ran differs from the notebook."""
    text = cell.source.strip()
    if any(other.source.strip() == text for other in notebook.cells):
        return None
    if cell.cell_id is None:
        return HiddenKind.CHANGED
    same = any(other.cell_id == cell.cell_id for other in notebook.cells)
    return HiddenKind.EDITED if same else HiddenKind.DELETED


def _position(cell: ExecutedCell, notebook: NotebookFile) -> int | None:
    for index, other in enumerate(notebook.cells):
        if cell.cell_id is not None and other.cell_id == cell.cell_id:
            return index
    places = [index for index, other in enumerate(notebook.cells) if other.source.strip() == cell.source.strip()]
    return places[0] if len(places) == 1 else None


def _out_of_order(
    recorded: ExecutedCell,
    relevant: Sequence[tuple[ExecutedCell, Names]],
    notebook: NotebookFile,
    needed: frozenset[str],
) -> Iterator[Hidden]:
    """Cells that wrote or read a needed name before a cell that stands above them wrote it, or the other way round."""
    placed = [(cell, names, _position(cell, notebook)) for cell, names in relevant]
    own = _position(recorded, notebook)
    for index, (cell, names, place) in enumerate(placed):
        if place is None:
            continue
        swapped = set() if own is None or place < own else set(names.written)
        for _, later, above in placed[index + 1 :]:
            if above is not None and above < place:
                swapped |= (names.written & (later.read | later.written)) | (names.read & later.written)
        if swapped & needed:
            yield Hidden(kind=HiddenKind.OUT_OF_ORDER, count=cell.count, names=tuple(sorted(swapped & needed)))


def _phrase(hidden: Hidden) -> str:
    names = ", ".join(hidden.names[:_TOLD]) + (", ..." if len(hidden.names) > _TOLD else "")
    if hidden.count is None:
        return f"{names}: {hidden.kind.value}"
    return f"In [{hidden.count}] {hidden.kind.value}" + (f" ({names})" if names else "")
