"""Runs side by side: what is the same in all of them, and what differs. ``jupyter mlops runs compare``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from jupyter_mlops.cli import tables
from jupyter_mlops.cli.outcome import reference
from jupyter_mlops.cli.tables import Cell, Column, cells
from jupyter_mlops.cli.terminal import console, note, put
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import Comparison, Row
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Run, RunKind, RunStatus

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

SIDE_BY_SIDE = 8
"""More runs than these are compared one run a line."""
PACKAGES = 15
"""Packages shown before the rest is only counted."""
NARROW = 24
"""Cells of a run's column to which longer values are cut before runs are shown one a line."""
SHORT_DIGEST = 12

_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")


def expanded(tracker: Tracker, runs: Sequence[Run]) -> list[Run]:
    """The runs, each sweep replaced by its children."""
    found: list[Run] = []
    for run in runs:
        found.extend(tables.by_creation(tracker.runs.children(run.run_id)) if run.kind is RunKind.SWEEP else [run])
    return found


# --- on the terminal -------------------------------------------------------------------------------------------------


def show(comparison: Comparison) -> None:
    """Print what is the same, a line a group, then a table of what differs: a column a run where that fits, else a line
    a run."""
    from rich.text import Text

    to = console()
    same = [row for row in comparison.rows if not row.differs and row.group != "packages"]
    differing = [row for row in comparison.rows if row.differs]
    packages = [row for row in comparison.of("packages") if row.differs]
    if same:
        put(to, Text("Same in all", style="bold"))
        groups = groupby(same, key=lambda row: row.group)
        put(to, tables.pairs({name: _listed(rows) for name, rows in groups}, to.width))
        put(to, Text())
    if not differing:
        note("Nothing differs.")
        return
    columns = _side_by_side(comparison.runs, [row for row in differing if row not in packages[PACKAGES:]])
    width = sum(column.needed for column in columns) + tables.GAP * (len(columns) - 1)
    if len(comparison.runs) > SIDE_BY_SIDE or width > to.width:
        columns = _one_a_line(comparison.runs, [row for row in differing if row.group != "packages"])
    table, left_out = tables.fit(columns, to.width)
    put(to, table)
    remarks = list(_remarks(comparison, left_out, packages))
    if remarks:
        note("\n" + "\n".join(remarks))


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(f"{_label(row)} {_texts(row)[0]}" for row in rows)


def _remarks(comparison: Comparison, left_out: Sequence[Column], packages: Sequence[Row]) -> Iterator[str]:
    yield from tables.not_shown(left_out)
    if len(comparison.runs) > SIDE_BY_SIDE and packages:
        yield f"{len(packages)} packages differ: --json lists them."
    elif len(packages) > PACKAGES:
        yield f"{len(packages) - PACKAGES} more packages differ: --json lists them."
    if len(comparison.runs) == 2 and any(row.name == "notebook" and row.differs for row in comparison.of("run")):
        first, second = (reference(run) for run in comparison.runs)
        yield f"The notebooks differ: jupyter mlops runs notebook {first} --diff {second} --source"


def _side_by_side(runs: Sequence[Run], rows: Sequence[Row]) -> list[Column]:
    """A column a run, a line a property, under the words of their groups."""
    names: list[Cell] = []
    lines: list[list[str]] = []
    changes: list[str] = []
    for group, members in groupby(rows, key=lambda row: row.group):
        names.append(Cell(group, "bold"))
        lines.append([""] * len(runs))
        changes.append("")
        for row in members:
            names.append(Cell(f"  {_label(row)}", "key"))
            lines.append(_texts(row))
            changes.append(_change(row))
    columns = [Column(header="", cells=names)]
    columns += [
        Column(header=tables.run_name(run), cells=cells(list(column)), right=True, least=NARROW)
        for run, column in zip(runs, zip(*lines, strict=True), strict=True)
    ]
    if len(runs) == 2 and any(changes):
        columns.append(Column(header="change", cells=cells(changes, "dim"), right=True))
    return columns


def _one_a_line(runs: Sequence[Run], rows: Sequence[Row]) -> list[Column]:
    """A line a run, a column a property."""
    columns = [Column(header="name", cells=[Cell(tables.run_name(run), "bold") for run in runs], least=20)]
    for group in ("params", "metrics", "inputs", "tags", "run"):
        for place, row in enumerate(row for row in rows if row.group == group):
            columns.append(
                Column(
                    header=_label(row),
                    group=group,
                    cells=cells(_texts(row), "key" if group == "params" else ""),
                    right=_numeric(row),
                    least=16,
                    rank=2 * place + (1 if group in ("params", "metrics") else 20),
                )
            )
    return columns


def _numeric(row: Row) -> bool:
    return all(
        text is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        for value, text in zip(row.values, row.texts, strict=True)
    )


def _label(row: Row) -> str:
    return "took" if _is_duration(row) else row.name


def _is_duration(row: Row) -> bool:
    return row.group == "run" and row.name == "seconds"


def _texts(row: Row) -> list[str]:
    if _is_duration(row):
        return ["" if seconds is None else formats.duration(1000 * seconds) for seconds in row.values]
    if row.group == "run" and row.name == "status":
        return [tables.status_words(RunStatus(status)) for status in row.values]
    if not _numeric(row):
        # A digest says nothing but whether it is the same: its beginning does that, too.
        return [_DIGEST.sub(lambda match: match[0][:SHORT_DIGEST], printable(text or "")) for text in row.texts]
    return (formats.numbers if row.group == "metrics" else formats.shortened)(row.values)


def _change(row: Row) -> str:
    """The step of a number from the first run to the second."""
    if row.group != "metrics" or None in row.values:
        return ""
    return f"{row.values[1] - row.values[0]:+.4g}"
