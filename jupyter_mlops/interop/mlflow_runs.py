"""One run of a source, brought here exactly once: what is missing is found by comparing, and written until nothing is.

A write carries a position in the run's own stream, which is read before the comparison: of two imports that found the
same missing, one writes it. So an import may end anywhere, and be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.records import (
    LARGEST_PAGE,
    Batch,
    Input,
    Lifecycle,
    NewRun,
    Param,
    Run,
    RunChange,
    Series,
    StreamPosition,
    Tag,
)
from jupyter_mlops.interop.mlflow_records import IMPORTED_TAG, Point, WantedRun, bits_of, series_of
from jupyter_mlops.tracker.protocol import Tracker

Piece = Param | Tag | Input | Series
T = TypeVar("T")

_POINTS_AT_ONCE = 100_000
_BYTES_AT_ONCE = 4 << 20
"""Of a batch, roughly; a service takes bodies of 32 MiB, and a single data set may have half of that."""
_ROUNDS = 5
"""How often what is missing is looked for and written: once is enough unless others write to the run, too."""


class Missing(msgspec.Struct):
    """What a run lacks, or has otherwise than the source."""

    pieces: list[Piece]
    change: RunChange | None
    told: list[str]
    """In words."""

    def __bool__(self) -> bool:
        return bool(self.pieces or self.change)

    def counts(self) -> dict[str, int]:
        """How many of which kind it lacks."""
        return _counts(self.pieces)


class RunCopy:
    """A run of a source and its counterpart here.

    Parameters
    ----------
    wanted
        Its fields, and what it logged except metrics.
    histories
        The points of each metric.
    """

    def __init__(self, tracker: Tracker, wanted: WantedRun, histories: Mapping[str, Sequence[Point]]) -> None:
        self._tracker = tracker
        self._wanted = wanted
        self._histories = histories
        self._stream = f"mlflow-import:{wanted.run_id}:{_digest(tracker.principal.name)}"

    def find(self) -> Run | None:
        """The run here; None when there is none."""
        try:
            return self._tracker.runs.get(self._wanted.run_id)
        except NotFound:
            return None

    def create(self, experiment_id: str) -> Run:
        """Make the run, with as much of it as one write takes."""
        wanted = self._wanted
        first = next(_batches(self._pieces()))
        return self._tracker.runs.create(
            NewRun(
                experiment_id=experiment_id,
                run_id=wanted.run_id,
                name=wanted.name,
                status=wanted.status,
                start_time=wanted.start_time,
                parent_run_id=wanted.parent_run_id,
                source=wanted.source,
                batch=first,
            )
        )

    def counts(self) -> dict[str, int]:
        """How many the source has of which kind."""
        return _counts(self._pieces())

    def complete(self) -> Missing:
        """Write what the run lacks; gives what it lacks then."""
        run_id = self._wanted.run_id
        for _ in range(_ROUNDS):
            # Before the comparison, so that what is written meanwhile is not written again.
            reached = self._tracker.runs.watermark(self._stream)
            found = self._tracker.runs.get(run_id)
            missing = self.missing(found)
            if not missing:
                return missing
            for number, batch in enumerate(_batches(missing.pieces), start=reached + 1):
                self._tracker.runs.log(run_id, batch, StreamPosition(self._stream, number))
            if missing.change is not None:
                self._tracker.runs.change(run_id, missing.change)
        return self.missing(self._tracker.runs.get(run_id))

    def missing(self, found: Run) -> Missing:
        """What ``found`` lacks of what it should be."""
        wanted, told = self._wanted, []
        pieces: list[Piece] = []
        params = {param.key: param for param in found.params}
        for param in wanted.batch.params:
            here = params.get(param.key)
            if here is None or here.text != param.text:
                pieces.append(param)
                told.append(f"parameter {param.key!r}")
        tags = {tag.key: tag.value for tag in found.tags}
        for tag in wanted.batch.tags:
            # Of several sources of one run, the first is told.
            if tags.get(tag.key) != tag.value and not (tag.key == IMPORTED_TAG and tag.key in tags):
                pieces.append(tag)
                told.append(f"tag {tag.key!r}")
        inputs = {_input_key(use): use for use in found.inputs}
        for use in wanted.batch.inputs:
            same = inputs.get(_input_key(use))
            if same is None or sorted(same.tags, key=_by_key) != sorted(use.tags, key=_by_key):
                pieces.append(use)
                told.append(f"data set {use.dataset.name!r}")
        summaries = {metric.key for metric in found.metrics}
        for key, points in self._histories.items():
            present = self._present(key) if key in summaries else set()
            absent = [point for point in points if point not in present]
            if absent:
                pieces += [series_of(key, part) for part in _parts(absent)]
                told.append(f"{len(absent)} points of metric {key!r}")
        change = _change(wanted, found)
        if change is not None:
            told += [field for field in ("name", "status", "end_time") if getattr(change, field) is not None]
        return Missing(pieces, change, told)

    def unequal(self, found: Run) -> list[str]:
        """What differs and cannot be written: fields that a run has from its beginning."""
        wanted, told = self._wanted, []
        if wanted.start_time is not None and wanted.start_time != found.start_time:
            told.append(f"its start is {found.start_time} here, not {wanted.start_time}")
        if wanted.parent_run_id != found.parent_run_id:
            told.append(f"its parent is {found.parent_run_id} here, not {wanted.parent_run_id}")
        if wanted.source != found.source:
            told.append(f"its source is {found.source!r} here, not {wanted.source!r}")
        known = {(use.dataset.name, use.dataset.digest): use.dataset for use in found.inputs}
        for use in wanted.batch.inputs:
            here = known.get((use.dataset.name, use.dataset.digest))
            if here is not None and here != use.dataset:
                told.append(f"the data set {use.dataset.name!r} of its digest is known here with another description")
        return told

    def _pieces(self) -> list[Piece]:
        batch = self._wanted.batch
        series = [series_of(key, part) for key, points in self._histories.items() for part in _parts(points)]
        return [*batch.params, *batch.tags, *batch.inputs, *series]

    def _present(self, key: str) -> set[Point]:
        points: set[Point] = set()
        token: str | None = None
        while True:
            page = self._tracker.runs.history(self._wanted.run_id, key, limit=LARGEST_PAGE, page_token=token)
            bits = bits_of(point.value for point in page.items)
            points.update((point.step, point.timestamp, bit) for point, bit in zip(page.items, bits, strict=True))
            token = page.next_page_token
            if token is None:
                return points


def _counts(pieces: Sequence[Piece]) -> dict[str, int]:
    series = [piece for piece in pieces if isinstance(piece, Series)]
    return {
        "parameters": sum(isinstance(piece, Param) for piece in pieces),
        "metrics": len({piece.key for piece in series}),
        "points": sum(map(len, series)),
        "tags": sum(isinstance(piece, Tag) for piece in pieces),
        "data sets": sum(isinstance(piece, Input) for piece in pieces),
    }


def is_imported(run: Run) -> bool:
    """Whether a run here was brought by an import."""
    return any(tag.key == IMPORTED_TAG for tag in run.tags)


def is_deleted(run: Run) -> bool:
    return run.lifecycle is Lifecycle.DELETED


def _change(wanted: WantedRun, found: Run) -> RunChange | None:
    change = RunChange(
        name=wanted.name if wanted.name != found.name else None,
        status=wanted.status if wanted.status is not found.status else None,
        end_time=wanted.end_time if wanted.end_time != found.end_time else None,
    )
    return None if change == RunChange() else change


def _parts(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    for start in range(0, len(points), _POINTS_AT_ONCE):
        yield points[start : start + _POINTS_AT_ONCE]


def _batches(pieces: Sequence[Piece]) -> Iterator[Batch]:
    """What is to be written, in as few writes as may be."""
    held: list[Piece] = []
    size = 0
    for piece in pieces:
        more = _size(piece)
        if held and size + more > _BYTES_AT_ONCE:
            yield _batch(held)
            held, size = [], 0
        held.append(piece)
        size += more
    yield _batch(held)


def _batch(pieces: Sequence[Piece]) -> Batch:
    def of(kind: type[T]) -> tuple[T, ...]:
        return tuple(piece for piece in pieces if isinstance(piece, kind))

    return Batch(params=of(Param), tags=of(Tag), inputs=of(Input), series=of(Series))


def _size(piece: Piece) -> int:
    if isinstance(piece, Series):
        return 24 * len(piece)
    if isinstance(piece, Input):
        used = piece.dataset
        return 1000 + sum(len(text or "") for text in (used.source, used.schema, used.profile))
    return 100 + 2 * len(piece.text if isinstance(piece, Param) else piece.value)


def _input_key(use: Input) -> tuple[str, str, str]:
    return use.dataset.name, use.dataset.digest, use.context


def _by_key(tag: Tag) -> Any:
    return tag.key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
