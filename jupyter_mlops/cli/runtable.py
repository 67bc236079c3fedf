"""The table of ``jupyter mlops runs list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.cli import tables
from jupyter_mlops.cli.tables import Cell, Column, cells
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import differing_params, metric_keys
from jupyter_mlops.core.filters import Entity, Field, FieldKind, parse_filter, parse_order_by
from jupyter_mlops.core.records import Run, RunKind

if TYPE_CHECKING:
    from jupyter_mlops.tracker.protocol import Tracker


class Line(msgspec.Struct, kw_only=True):
    run: Run
    depth: int = 0
    """How many parents of it are shown above."""
    folded: int = 0
    """Runs below it that are not shown."""
    best: Run | None = None
    """Of a sweep whose runs are not shown: the best of them, whose values stand for all."""

    @property
    def valued(self) -> Run:
        """The run whose parameters and metrics are shown."""
        return self.best or self.run


def flat(runs: Sequence[Run]) -> list[Line]:
    return [Line(run=run) for run in runs]


def folded(tracker: Tracker, newest_first: Iterator[Run], limit: int, *, unfold: bool) -> tuple[list[Line], bool]:
    """Lines for at most ``limit`` runs that are nobody's children, each followed by (or counting) its descendants; and
    whether there are more.

    A child comes before its parent in ``newest_first``, since it started later; one whose parent is not among these
    runs at all (it is in another experiment) gets a line of its own.
    """
    tops: dict[str, Run] = {}
    below: dict[str, list[Run]] = {}
    more = False
    for run in newest_first:
        if run.parent_run_id is not None:
            below.setdefault(run.parent_run_id, []).append(run)
        elif len(tops) == limit:
            more = True
            break
        else:
            tops[run.run_id] = run
    known = {run.run_id for children in below.values() for run in children} | set(tops)
    for parent_id in [parent_id for parent_id in below if parent_id not in known]:
        parent = tracker.runs.get(parent_id)
        if more and parent.experiment_id == below[parent_id][0].experiment_id:
            # A long sweep: its children are among the newest runs, its own start lies beyond the limit.
            tops[parent_id] = parent
        else:
            tops.update((run.run_id, run) for run in below.pop(parent_id))
    lines: list[Line] = []
    for run in sorted(tops.values(), key=lambda run: -run.start_time):
        lines.extend(_tree(run, below, 0, unfold))
    return lines, more


def _tree(run: Run, below: dict[str, list[Run]], depth: int, unfold: bool) -> Iterator[Line]:
    if not unfold:
        yield Line(run=run, depth=depth, folded=_count(run, below), best=_best(run, below.get(run.run_id, [])))
        return
    yield Line(run=run, depth=depth)
    for child in tables.by_creation(below.get(run.run_id, [])):
        yield from _tree(child, below, depth + 1, unfold)


def _best(sweep: Run, children: Sequence[Run]) -> Run | None:
    from jupyter_mlops.execution.plan import BEST_TAG

    best = next((tag.value for tag in sweep.tags if tag.key == BEST_TAG), None)
    return next((child for child in children if child.run_id == best), None)


def _count(run: Run, below: dict[str, list[Run]]) -> int:
    children = below.get(run.run_id, [])
    return len(children) + sum(_count(child, below) for child in children)


def asked_for(filter: str, order_by: Sequence[str]) -> list[Field]:
    """What a search names, and its table must show: what it orders by first."""
    orders = [key.field for key in parse_order_by(order_by, Entity.RUN)]
    return list(dict.fromkeys([*orders, *(condition.field for condition in parse_filter(filter, Entity.RUN))]))


def show(lines: Sequence[Line], experiments: Mapping[str, str], asked: Sequence[Field] = ()) -> None:
    """Print the table.

    Parameters
    ----------
    lines
        The runs, in order.
    experiments
        Names of their experiments, by id.
    asked
        Fields whose columns are shown first among their kind, and whatever the room.
    """
    runs = [line.run for line in lines]
    now = formats.now()
    always = {kind: [field.key for field in asked if field.kind is kind] for kind in FieldKind}
    attributes = set(always[FieldKind.ATTRIBUTE])

    def rank(attribute: str, otherwise: int) -> int:
        return 0 if attribute in attributes else otherwise

    names = [Cell(_indented(line), "bold" if line.depth == 0 else "") for line in lines]
    valued = [line.valued for line in lines]
    # A sweep has the parameters only that are the same for all its points; lacking others does not tell it apart.
    params = differing_params([run for run in valued if run.kind is not RunKind.SWEEP])
    params = list(dict.fromkeys([*always[FieldKind.PARAM], *params]))
    metrics = list(dict.fromkeys([*always[FieldKind.METRIC], *metric_keys(valued)]))
    several_users = len({run.user for run in runs}) > 1
    # A name is enough to name a run, unless another has it too.
    telling = len({run.name for run in runs}) == len(runs)
    ids = tables.short_ids([run.run_id for run in runs])
    tables.show(
        [
            Column(header="name", cells=names, least=20),
            Column(header="status", cells=[tables.status(run) for run in runs]),
            Column(
                header="experiment",
                cells=cells([experiments[run.experiment_id] for run in runs]),
                least=12,
                rank=rank("experiment_id", 4 if len(experiments) > 1 else 29),
            ),
            Column(
                header="by",
                cells=cells([run.user for run in runs]),
                least=12,
                rank=rank("user", 3 if several_users else 30),
            ),
            Column(
                header="started",
                cells=cells([formats.relative(run.start_time, reference=now) for run in runs]),
                rank=rank("start_time", 1),
            ),
            Column(
                header="took",
                cells=cells([tables.elapsed(run, now) for run in runs]),
                right=True,
                rank=rank("end_time", 20),
            ),
            *tables.param_columns(valued, params, rank=11, always=always[FieldKind.PARAM]),
            *tables.metric_columns(valued, metrics, rank=10, always=always[FieldKind.METRIC]),
            *tables.tag_columns(runs, always[FieldKind.TAG]),
            Column(header="reason", cells=[tables.reason(run) for run in runs], least=20, rank=11),
            Column(
                header="notebook",
                cells=cells([PurePath(run.source).name for run in runs], "dim"),
                least=14,
                rank=rank("source", 25),
            ),
            Column(header="id", cells=cells(ids, "dim"), rank=rank("run_id", 15 if telling else 2)),
        ],
        list(_remarks(lines)),
    )


def _remarks(lines: Sequence[Line]) -> Iterator[str]:
    if any(line.folded for line in lines):
        best = "; its values are those of the best" if any(line.best for line in lines) else ""
        yield f"▸ counts the runs of a sweep: --children shows them{best}."
    if any(line.run.hidden_state for line in lines):
        yield "⚠ may depend on code that is not in the record: `runs show` says how."


def _indented(line: Line) -> str:
    name = tables.run_name(line.run)
    if line.depth:
        return "  " * (line.depth - 1) + "└ " + name
    return f"{name} ▸{line.folded}" if line.folded else name
