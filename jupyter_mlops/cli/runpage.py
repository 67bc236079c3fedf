"""The page of one run: ``jupyter mlops runs show``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from jupyter_mlops.cli import tables
from jupyter_mlops.cli.outcome import failure, reference
from jupyter_mlops.cli.tables import Cell, Column, cells
from jupyter_mlops.cli.terminal import console, output_text, put
from jupyter_mlops.core import formats
from jupyter_mlops.core.compare import differing_params, metric_keys
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.reasons import cell_name
from jupyter_mlops.core.records import Artifact, Comment, Experiment, Run, RunKind
from jupyter_mlops.core.run_files import CELLS
from jupyter_mlops.recording.entities import NOTES_TAG
from jupyter_mlops.tracker.undelivered import Refused, refused_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jupyter_mlops.tracker.protocol import Tracker

CURVE = 24
"""Cells of a metric's curve."""
SLOWEST = 3
"""Cells named as the slowest."""
FILES = 20
"""Artifacts shown before the rest is only counted."""


class CellTime(msgspec.Struct, frozen=True):
    """What is shown of an entry of ``notebook/cells.json``."""

    index: int
    seconds: float
    type: str = "code"


class RunPage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All that is recorded of one run, as ``--json`` prints it."""

    run: Run
    experiment: Experiment
    parent: Run | None = None
    children: tuple[Run, ...] = ()
    comments: tuple[Comment, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    cells: tuple[CellTime, ...] = ()
    """How long each cell took that was reached."""
    refused: tuple[Refused, ...] = ()
    """What the run logged on this machine and the store refused."""
    curves: dict[str, list[float]] = {}
    """Values by step, thinned; of the metrics with more than one point."""


def collect(tracker: Tracker, run: Run) -> RunPage:
    files = tracker.artifacts.walk(run.run_id)
    return RunPage(
        run=run,
        experiment=tracker.experiments.get(run.experiment_id),
        parent=tracker.runs.get(run.parent_run_id) if run.parent_run_id is not None else None,
        children=tracker.runs.children(run.run_id),
        comments=tracker.runs.comments(run.run_id),
        artifacts=files,
        cells=cell_times(tracker, run) if any(file.path == CELLS for file in files) else (),
        refused=tuple(refused_of(run.run_id)),
        curves={
            metric.key: [point.value for point in tracker.runs.sampled(run.run_id, metric.key, CURVE)]
            for metric in run.metrics
            if metric.count > 1
        },
    )


def cell_times(tracker: Tracker, run: Run) -> tuple[CellTime, ...]:
    """How long each cell took that was reached, in their order; empty where that was not recorded."""
    try:
        return msgspec.json.decode(b"".join(tracker.artifacts.open(run.run_id, CELLS)), type=tuple[CellTime, ...])
    except (NotFound, msgspec.MsgspecError):  # the notebook may have stored a file of its own there
        return ()


def show(page: RunPage) -> None:
    from rich.padding import Padding
    from rich.text import Text

    to = console()
    title = tables.text(Cell(page.run.name, "bold"))
    title.append("  ")
    title.append_text(tables.text(tables.status(page.run)))
    to.print(title)
    for heading, part in SECTIONS.items():
        body = part(page, to.width - 2)
        if body:
            to.print(Text("\n" + heading, style="bold") if heading else Text())
        for piece in body:
            put(to, Padding(piece, (0, 0, 0, 2), expand=False))


def _about(page: RunPage, width: int) -> list[RenderableType]:
    from jupyter_mlops.core.run_fields import RERUN_TAG
    from jupyter_mlops.execution.plan import BEST_TAG, GRID_TAG

    run, now = page.run, formats.now()
    tags = {tag.key: tag.value for tag in run.tags}
    commit = tags.get("mlops.git.commit", "")
    if commit and tags.get("mlops.git.dirty", "").lower() == "true":
        commit += " with uncommitted changes"
    facts = {
        "id": run.run_id,
        "experiment": page.experiment.name,
        "kind": "" if run.source else f"{run.kind.value} run",
        "notebook" if run.kind is RunKind.SWEEP else run.kind.value: run.source,
        "sweep" if page.parent and page.parent.kind is RunKind.SWEEP else "parent": page.parent.name
        if page.parent
        else "",
        "grid": tags.get(GRID_TAG, ""),
        "rerun of": tags.get(RERUN_TAG, ""),
        "best": next((child.name for child in page.children if child.run_id == tags.get(BEST_TAG)), ""),
        "by": run.user if run.submitted_by is None else f"{run.user} (submitted by {run.submitted_by}, not verified)",
        "started": _when(run.start_time, now),
        "took": tables.elapsed(run, now) if run.status.ended else f"{tables.elapsed(run, now)} so far",
        "state": "deleted" if run.lifecycle.value == "deleted" else "",
        "kernel": tags.get("mlops.kernel", ""),
        "python": tags.get("mlops.python", ""),
        "commit": commit,
    }
    return [tables.pairs({key: value for key, value in facts.items() if value}, width)]


def _when(at: int, now: int) -> str:
    exact, relative = formats.moment(at), formats.relative(at, reference=now)
    return exact if exact.startswith(relative) else f"{exact} ({relative})"


def _hidden_state(page: RunPage, _width: int) -> list[RenderableType]:
    return [_words(page.run.hidden_state, "warning")] if page.run.hidden_state else []


def _reason(page: RunPage, _width: int) -> list[RenderableType]:
    from rich.text import Text

    return [Text("\n").join(failure(page.run.reason))] if page.run.reason is not None else []


def _notices(page: RunPage, _width: int) -> list[RenderableType]:
    from jupyter_mlops.recording.recorder import NOTICE_TAG
    from jupyter_mlops.tracker.replay import DROPPED_TAG

    tags = {tag.key: tag.value for tag in page.run.tags}
    notices = [_words(tags[NOTICE_TAG], "warning")] if NOTICE_TAG in tags else []
    if DROPPED_TAG in tags:
        lost = f"{tags[DROPPED_TAG]} logging calls were lost: there was no room to keep them"
        notices.append(_words(lost, "warning"))
    if page.refused:
        first = page.refused[0].error
        what = f"the store refused {len(page.refused)} of the entries that were logged; the first: {first}"
        notices.append(_words(f"{what} (jupyter mlops db status lists them)", "warning"))
    return notices


def _params(page: RunPage, width: int) -> list[RenderableType]:
    return [tables.pairs({param.key: param.text for param in page.run.params}, width)] if page.run.params else []


def _metrics(page: RunPage, width: int) -> list[RenderableType]:
    metrics = page.run.metrics
    if not metrics:
        return []
    several = any(metric.count > 1 for metric in metrics)
    columns = [
        Column(header="", cells=cells([metric.key for metric in metrics], "key"), least=16),
        Column(header="last", cells=cells([formats.number(metric.value) for metric in metrics], "bold"), right=True),
    ]
    if several:
        low = [_number(metric.min) if metric.count > 1 else "" for metric in metrics]
        high = [_number(metric.max) if metric.count > 1 else "" for metric in metrics]
        step = [str(metric.step) if metric.count > 1 else "" for metric in metrics]
        columns += [
            Column(header="min", cells=cells(low), right=True, rank=2),
            Column(header="max", cells=cells(high), right=True, rank=3),
            Column(header="points", cells=cells([str(metric.count) for metric in metrics]), right=True, rank=4),
            Column(header="last step", cells=cells(step), right=True, rank=5),
            Column(
                header="history",
                cells=[
                    Cell(formats.sparkline(page.curves.get(metric.key, []), width=CURVE), "going") for metric in metrics
                ],
                rank=1,
            ),
        ]
    table, left_out = tables.fit(columns, width)
    table.show_header = several
    return [table, *_not_shown(left_out)]


def _not_shown(left_out: Sequence[Column]) -> list[RenderableType]:
    return [_words(remark, "dim") for remark in tables.not_shown(left_out)]


def _number(value: float | None) -> str:
    return "" if value is None else formats.number(value)


def _children(page: RunPage, width: int) -> list[RenderableType]:
    runs = tables.by_creation(page.children)
    if not runs:
        return []
    now = formats.now()
    table, left_out = tables.fit(
        [
            Column(header="name", cells=[Cell(tables.run_name(run), "bold") for run in runs], least=20),
            Column(header="status", cells=[tables.status(run) for run in runs]),
            Column(header="took", cells=cells([tables.elapsed(run, now) for run in runs]), right=True, rank=9),
            *tables.param_columns(runs, differing_params(runs), rank=1),
            *tables.metric_columns(runs, metric_keys(runs), rank=2),
            Column(header="reason", cells=[tables.reason(run) for run in runs], least=20, rank=3),
        ],
        width,
    )
    return [table, *_not_shown(left_out)]


def _cells(page: RunPage, _width: int) -> list[RenderableType]:
    timed = [cell for cell in page.cells if cell.seconds > 0]
    if not timed:
        return []
    total = formats.duration(1000 * sum(cell.seconds for cell in timed))
    slowest = sorted(timed, key=lambda cell: -cell.seconds)[:SLOWEST]
    # Cells that took next to nothing are among the slowest only of a short notebook.
    slowest = [cell for cell in slowest if cell.seconds > slowest[0].seconds / 20]
    named = ", ".join(f"{cell_name(cell.index)} {formats.duration(1000 * cell.seconds)}" for cell in slowest)
    return [_words(f"{len(timed)} ran in {total}; the slowest: {named}")]


def _inputs(page: RunPage, width: int) -> list[RenderableType]:
    inputs = page.run.inputs
    if not inputs:
        return []
    table, _ = tables.fit(
        [
            Column(header="data set", cells=cells([i.dataset.name for i in inputs], "key"), least=16),
            Column(header="digest", cells=cells([i.dataset.digest for i in inputs]), least=16),
            Column(header="used for", cells=cells([i.context for i in inputs]), rank=1),
            Column(header="rows", cells=cells([_count(i.dataset.rows) for i in inputs]), right=True, rank=2),
            Column(header="source", cells=cells([i.dataset.source for i in inputs], "dim"), least=20, rank=3),
        ],
        width,
    )
    return [table]


def _count(rows: int | None) -> str:
    return "" if rows is None else str(rows)


def _tags(page: RunPage, width: int) -> list[RenderableType]:
    plain = {tag.key: tag.value for tag in page.run.tags if not tag.key.startswith(("mlops.", "mlflow."))}
    return [tables.pairs(plain, width)] if plain else []


def _artifacts(page: RunPage, width: int) -> list[RenderableType]:
    files = page.artifacts[:FILES]
    if not files:
        return []
    table, _ = tables.fit(
        [
            Column(header="", cells=cells([file.path for file in files]), least=20),
            Column(header="", cells=cells([formats.size(file.size or 0) for file in files], "dim"), right=True),
        ],
        width,
    )
    table.show_header = False
    rest = len(page.artifacts) - len(files)
    more = (
        [_words(f"and {rest} more: jupyter mlops artifacts list {reference(page.run)} --recursive", "dim")]
        if rest
        else []
    )
    return [table, *more]


def _notes(page: RunPage, _width: int) -> list[RenderableType]:
    return [_words(tag.value) for tag in page.run.tags if tag.key == NOTES_TAG and tag.value]


def _comments(page: RunPage, _width: int) -> list[RenderableType]:
    now = formats.now()
    return [
        _words(f"{comment.user}, {formats.relative(comment.created, reference=now)}: {comment.text}")
        for comment in page.comments
    ]


SECTIONS: dict[str, Callable[[RunPage, int], list[RenderableType]]] = {
    "": _about,
    "Depends on state that is not in the record ⚠": _hidden_state,
    "Why it ended": _reason,
    "Notices": _notices,
    "Parameters": _params,
    "Metrics": _metrics,
    "Runs": _children,
    "Cells": _cells,
    "Inputs": _inputs,
    "Tags": _tags,
    "Artifacts": _artifacts,
    "Notes": _notes,
    "Comments": _comments,
}


def _words(text: str, style: str = "") -> RenderableType:
    from rich.text import Text

    return Text(output_text(text), style=style, overflow="fold")
