"""Runs side by side: what is the same in all of them, and what differs. ``jupyter mlops runs compare``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.cli import tables
from jupyter_mlops.cli.outcome import reference
from jupyter_mlops.cli.tables import Cell, Column, cells
from jupyter_mlops.cli.terminal import console, note, put
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import metric_keys
from jupyter_mlops.core.formats import printable
from jupyter_mlops.core.records import Json, Run, RunKind

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker

SIDE_BY_SIDE = 8
"""More runs than these are compared one run a line."""
PACKAGES = 15
"""Packages shown before the rest is only counted."""
SHORT_DIGEST = 12
SOURCE_ROW = "notebook (sha256)"

LOCK = "environment/requirements.txt"
NOTEBOOK = "notebook/source.ipynb"

_TAGS = {"mlops.kernel": "kernel", "mlops.python": "python", "mlops.git.commit": "commit"}

_DIGEST = re.compile("[0-9a-f]{32,}")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:==|@)\s*(?P<version>\S+)")
_EDITABLE = re.compile(r"-e (?P<version>\S+)\s+# (?P<name>\S+)")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One property of all runs, in their order; None where a run has none."""

    group: str
    name: str
    values: tuple[Json, ...]

    @property
    def differs(self) -> bool:
        # By their text: a parameter's identity is its text, and NaN is not equal to itself.
        return len({repr(value) for value in self.values}) > 1


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]

    def as_document(self) -> dict[str, Json]:
        """``same`` and ``differs`` by ``group.name``; the values of ``differs`` are in the order of ``runs``."""
        return {
            "runs": self.runs,
            "same": {f"{row.group}.{row.name}": row.values[0] for row in self.rows if not row.differs},
            "differs": {f"{row.group}.{row.name}": row.values for row in self.rows if row.differs},
        }


def compare(tracker: Tracker, runs: Sequence[Run]) -> Comparison:
    params = [{param.key: param.value for param in run.params} for run in runs]
    metrics = [{metric.key: metric.value for metric in run.metrics} for run in runs]
    inputs = [{i.dataset.name: i.dataset.digest for i in run.inputs} for run in runs]
    tags = [{tag.key: tag.value for tag in run.tags} for run in runs]
    sources = [{file.path: file.digest for file in tracker.artifacts.walk(run.run_id, NOTEBOOK)} for run in runs]
    packages = [_packages(tracker, run) for run in runs]
    rows = [
        *_rows("params", params, _keys(params)),
        *_rows("metrics", metrics, metric_keys(runs)),
        *_rows("inputs", inputs, _keys(inputs)),
        _row("run", "status", (run.status.value for run in runs)),
        _row("run", "took (s)", ((run.end_time - run.start_time) / 1000 if run.end_time else None for run in runs)),
        _row("run", "source", (run.source for run in runs)),
        _row("run", SOURCE_ROW, (of_run.get(NOTEBOOK) for of_run in sources)),
        *(_row("run", name, (of_run.get(key) for of_run in tags)) for key, name in _TAGS.items()),
        _row("run", "user", (run.user for run in runs)),
        # A run that recorded no packages tells nothing about which it had.
        *(_rows("packages", packages, sorted(_keys(packages))) if all(packages) else ()),
    ]
    return Comparison(runs=tuple(runs), rows=tuple(row for row in rows if any(v is not None for v in row.values)))


def expanded(tracker: Tracker, runs: Sequence[Run]) -> list[Run]:
    """The runs, each sweep replaced by its children."""
    found: list[Run] = []
    for run in runs:
        found.extend(tracker.runs.children(run.run_id) if run.kind is RunKind.SWEEP else [run])
    return found


def _row(group: str, name: str, values: Iterable[Json]) -> Row:
    return Row(group=group, name=name, values=tuple(values))


def _rows(group: str, of_runs: Sequence[dict[str, Json]], names: Iterable[str]) -> list[Row]:
    return [_row(group, name, (of_run.get(name) for of_run in of_runs)) for name in names]


def _keys(mappings: Sequence[dict[str, Json]]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _packages(tracker: Tracker, run: Run) -> dict[str, Json]:
    """Versions (or origins) by name, from the run's lock file; empty when it has none."""
    if not tracker.artifacts.walk(run.run_id, LOCK):
        return {}
    text = b"".join(tracker.artifacts.open(run.run_id, LOCK)).decode(errors="replace")
    matches = (_REQUIREMENT.match(line) or _EDITABLE.match(line) for line in text.splitlines())
    return {match["name"].lower().replace("_", "-"): match["version"] for match in matches if match}


# --- on the terminal -------------------------------------------------------------------------------------------------


def show(comparison: Comparison) -> None:
    """Print what is the same, a line a group, then a table of what differs: a column a run where that fits, else a line
    a run."""
    from rich.text import Text

    to = console()
    same = [row for row in comparison.rows if not row.differs and row.group != "packages"]
    differing = [row for row in comparison.rows if row.differs]
    packages = [row for row in differing if row.group == "packages"]
    if same:
        put(to, Text("Same in all", style="bold"))
        groups = groupby(same, key=lambda row: row.group)
        put(to, tables.pairs({name: _listed(rows) for name, rows in groups}, to.width))
        put(to, Text())
    if not differing:
        note("Nothing differs.")
        return
    columns = _side_by_side(comparison.runs, [row for row in differing if row not in packages[PACKAGES:]])
    left_out: list[Column] = []
    if len(comparison.runs) > SIDE_BY_SIDE or sum(column.natural + tables.GAP for column in columns) > to.width:
        columns = _one_a_line(comparison.runs, [row for row in differing if row.group != "packages"])
    table, left_out = tables.fit(columns, to.width)
    put(to, table)
    remarks = list(_remarks(comparison, left_out, packages))
    if remarks:
        note("\n" + "\n".join(remarks))


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(f"{row.name} {_texts(row)[0]}" for row in rows)


def _remarks(comparison: Comparison, left_out: Sequence[Column], packages: Sequence[Row]) -> Iterator[str]:
    if left_out:
        yield f"Not shown, for want of room: {', '.join(column.header for column in left_out)}."
    if len(comparison.runs) > SIDE_BY_SIDE and packages:
        yield f"{len(packages)} packages differ: --json lists them."
    elif len(packages) > PACKAGES:
        yield f"{len(packages) - PACKAGES} more packages differ: --json lists them."
    if len(comparison.runs) == 2 and any(row.name == SOURCE_ROW and row.differs for row in comparison.rows):
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
            names.append(Cell(f"  {row.name}", "cyan"))
            lines.append(_texts(row))
            changes.append(_change(row))
    columns = [Column(header="", cells=names)]
    columns += [
        Column(header=tables.run_name(run), cells=cells(list(column)), right=True)
        for run, column in zip(runs, zip(*lines, strict=True), strict=True)
    ]
    if len(runs) == 2 and any(changes):
        columns.append(Column(header="change", cells=cells(changes, "dim"), right=True))
    return columns


def _one_a_line(runs: Sequence[Run], rows: Sequence[Row]) -> list[Column]:
    """A line a run, a column a property."""
    columns = [Column(header="name", cells=[Cell(tables.run_name(run), "bold") for run in runs], least=20)]
    for group in ("params", "metrics", "inputs", "run"):
        for place, row in enumerate(row for row in rows if row.group == group):
            columns.append(
                Column(
                    header=row.name,
                    group=group,
                    cells=cells(_texts(row), "cyan" if group == "params" else ""),
                    right=_numeric(row),
                    least=16,
                    rank=2 * place + (1 if group in ("params", "metrics") else 20),
                )
            )
    return columns


def _numeric(row: Row) -> bool:
    return all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in row.values
    )


def _texts(row: Row) -> list[str]:
    if not _numeric(row):
        return ["" if value is None else _text(value) for value in row.values]
    return (formats.numbers if row.group == "metrics" else formats.shortened)(row.values)


def _text(value: Json) -> str:
    text = printable(str(value))
    return text[:SHORT_DIGEST] if _DIGEST.fullmatch(text) else text


def _change(row: Row) -> str:
    """The step of a number from the first run to the second."""
    if row.group != "metrics" or None in row.values:
        return ""
    return f"{row.values[1] - row.values[0]:+.4g}"
