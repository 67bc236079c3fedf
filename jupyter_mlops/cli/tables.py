"""Tables for people: columns by importance, as many as fit the terminal; numbers aligned; nothing cut elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.cli.terminal import console, note, put
from jupyter_mlops.core import formats
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.reasons import brief
from jupyter_mlops.core.records import Run, RunKind, RunStatus

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

GAP = 2
SHORT_ID = 12
"""Digits of an id that name a run in nearly every store: its first 12 are its creation, to the millisecond."""


class Cell(msgspec.Struct, frozen=True):
    """Text (made printable when shown) and a rich style."""

    text: str = ""
    style: str = ""


class Column(msgspec.Struct, kw_only=True):
    header: str
    cells: list[Cell]
    group: str = ""
    """A word over the header, shown once over neighbours of the same group."""
    right: bool = False
    least: int | None = None
    """Narrowest width to which the column may be cut, with an ellipsis; its whole width when None."""
    rank: int = 0
    """Columns of rank 0 are always shown, others while there is room, lowest first."""

    @property
    def natural(self) -> int:
        return max(_width(text) for text in [self.header, self.group, *(cell.text for cell in self.cells)])

    @property
    def needed(self) -> int:
        return self.natural if self.least is None else min(self.natural, self.least)


def cells(texts: Sequence[str], style: str = "") -> list[Cell]:
    return [Cell(text, style) for text in texts]


def show(columns: Sequence[Column], remarks: Sequence[str] = ()) -> None:
    """Print a table, and below it which columns there was no room for, and further remarks."""
    to = console()
    table, left_out = fit(columns, to.width)
    put(to, table)
    below = [*not_shown(left_out), *remarks]
    if below:
        note("\n" + "\n".join(below))


def not_shown(left_out: Sequence[Column]) -> Iterator[str]:
    """What to say of columns that there was no room for."""
    if left_out:
        yield f"Not shown, for want of room: {', '.join(column.header for column in left_out)}."


def fit(columns: Sequence[Column], width: int) -> tuple[Table, list[Column]]:
    """A table for ``width`` cells, and the columns that there was no room for. Empty columns of a rank are neither."""
    filled = [column for column in columns if column.rank == 0 or any(cell.text for cell in column.cells)]
    chosen = fitted(filled, width)
    shown = {id(column) for column, _ in chosen}
    return _table(chosen), [column for column in filled if id(column) not in shown]


def pairs(facts: dict[str, str], width: int) -> Table:
    """Names and values in two columns; long values wrap."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="key", max_width=max(width // 2, 8))
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(Text(printable(key)), Text(printable(value)))
    return table


def show_pairs(facts: dict[str, str]) -> None:
    to = console()
    put(to, pairs(facts, to.width))


def fitted(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that fit ``width`` in their given order, each with the width it gets."""
    by_rank = sorted(range(len(columns)), key=lambda i: columns[i].rank)
    chosen: set[int] = set()
    room = width
    for i in by_rank:
        column = columns[i]
        if column.rank == 0 or column.needed + GAP <= room:
            chosen.add(i)
            room -= column.needed + GAP
    result = []
    for i in sorted(chosen):
        column = columns[i]
        extra = max(min(column.natural - column.needed, room + GAP), 0)
        room -= extra
        result.append((column, column.needed + extra))
    return result


def _table(chosen: Sequence[tuple[Column, int]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grouped = any(column.group for column, _ in chosen)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    above = ""
    for column, width in chosen:
        header = Text(overflow="ellipsis", no_wrap=True)
        if grouped:
            header.append(printable(column.group if column.group != above else "") + "\n", style="dim")
            above = column.group
        header.append(printable(column.header))
        table.add_column(header, justify="right" if column.right else "left", width=width, no_wrap=True)
    for row in zip(*(column.cells for column, _ in chosen), strict=True):
        table.add_row(*(text(cell) for cell in row))
    return table


def text(cell: Cell) -> Text:
    from rich.text import Text

    return Text(printable(cell.text), style=cell.style, overflow="ellipsis", no_wrap=True)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(printable(text))


# --- cells of runs, the same wherever runs are shown -----------------------------------------------------------------

_STATUS = {
    RunStatus.SCHEDULED: ("○ scheduled", "dim"),
    RunStatus.RUNNING: ("● running", "going"),
    RunStatus.FINISHED: ("✓ finished", "good"),
    RunStatus.FAILED: ("✗ failed", "bad"),
    RunStatus.KILLED: ("■ killed", "warning"),
}


def status_words(status: RunStatus) -> str:
    return _STATUS[status][0]


def status(run: Run) -> Cell:
    """A run's status as a symbol and a word, with how far it is."""
    words, style = _STATUS[run.status]
    progress = run.progress
    if progress is None:
        return Cell(words, style)
    if not run.status.ended:
        words += f" {progress.done}/{progress.total}"
        if progress.failed:
            words += f" ✗{progress.failed}"
    elif run.kind is RunKind.SWEEP and progress.failed:
        words += f" ({progress.failed} of {progress.total})"
    return Cell(words, style)


def by_creation(runs: Iterable[Run]) -> list[Run]:
    """Runs in the order in which they were made, which of a sweep's runs is that of its points: they start when there
    is room."""
    return sorted(runs, key=lambda run: run.run_id)


def run_name(run: Run) -> str:
    """A run's name, marked when its result may depend on state that is not in the record."""
    return f"{run.name} ⚠" if run.hidden_state else run.name


def elapsed(run: Run, now: int) -> str:
    """How long a run took, or has taken so far."""
    return formats.duration((run.end_time if run.end_time is not None else now) - run.start_time)


def reason(run: Run) -> Cell:
    """Why a run failed, in a line."""
    return Cell() if run.reason is None else Cell(brief(run.reason), "bad")


def short_ids(ids: Sequence[str]) -> list[str]:
    """The ids cut to a length at which those listed differ, at least :data:`SHORT_ID`."""
    length = next(n for n in range(SHORT_ID, 33) if len({text[:n] for text in ids}) == len(set(ids)))
    return [text[:length] for text in ids]


# --- columns of what runs logged -------------------------------------------------------------------------------------


def param_columns(
    runs: Sequence[Run], keys: Sequence[str], *, rank: int, always: Collection[str] = ()
) -> Iterator[Column]:
    """A column for each parameter in ``keys``, the first the most important; those of ``always`` whatever the room."""
    for place, key in enumerate(keys):
        logged = {run.run_id: param for run in runs for param in run.params if param.key == key}
        numeric = all(isinstance(p.value, (int, float)) and not isinstance(p.value, bool) for p in logged.values())
        if numeric:
            texts = formats.shortened([logged[run.run_id].value if run.run_id in logged else None for run in runs])
        else:
            texts = [logged[run.run_id].text if run.run_id in logged else "" for run in runs]
        yield Column(
            header=key,
            cells=cells(texts, "key"),
            group="params",
            right=numeric,
            least=16,
            rank=0 if key in always else rank + 2 * place,
        )


def metric_columns(
    runs: Sequence[Run], keys: Sequence[str], *, rank: int, always: Collection[str] = ()
) -> Iterator[Column]:
    """A column of latest values for each metric in ``keys``, the first the most important; those of ``always`` whatever
    the room."""
    for place, key in enumerate(keys):
        logged = {run.run_id: metric.value for run in runs for metric in run.metrics if metric.key == key}
        texts = formats.numbers([logged.get(run.run_id) for run in runs])
        yield Column(
            header=key,
            cells=cells(texts),
            group="metrics",
            right=True,
            rank=0 if key in always else rank + 2 * place,
        )


def tag_columns(runs: Sequence[Run], keys: Sequence[str]) -> Iterator[Column]:
    """A column for each tag in ``keys``."""
    for key in keys:
        values = {run.run_id: tag.value for run in runs for tag in run.tags if tag.key == key}
        yield Column(header=key, cells=cells([values.get(run.run_id, "") for run in runs]), group="tags", least=16)
