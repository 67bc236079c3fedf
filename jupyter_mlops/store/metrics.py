"""Metrics: one summary row per run and metric, and the chunks of its history."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.records import MetricSummary
from jupyter_mlops.store import chunks, schema, writes
from jupyter_mlops.store.chunks import Points
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.rows import by_run, fetch
from jupyter_mlops.store.upsert import Upsert

MERGED = 8192
"""Points that a merged chunk holds at most; chunks of half as many are left alone."""

_metric = schema.metric.c
_chunk = schema.metric_chunk.c


class Summary(msgspec.Struct):
    """What a call adds to a metric's summary row. ``value``, ``step`` and ``timestamp`` are of the latest point: the
    greatest (step, timestamp, value), where NaN is less than any number."""

    value: float
    step: int
    timestamp: int
    count: int
    min: float | None
    max: float | None

    @property
    def rank(self) -> tuple[int, int, bool, float]:
        return _rank(self.step, self.timestamp, self.value)

    def merge(self, later: Summary) -> None:
        """Take in what ``later`` adds."""
        if later.rank >= self.rank:
            self.value, self.step, self.timestamp = later.value, later.step, later.timestamp
        self.count += later.count
        lows = [low for low in (self.min, later.min) if low is not None]
        highs = [high for high in (self.max, later.max) if high is not None]
        self.min, self.max = min(lows, default=None), max(highs, default=None)


def summarize(points: Points) -> Summary:
    """The summary of at least one point."""
    steps, timestamps, values = points.steps, points.timestamps, points.values
    last = max(steps)
    if steps.count(last) == 1:
        latest = steps.index(last)
    else:
        same = (i for i, step in enumerate(steps) if step == last)
        latest = max(same, key=lambda i: _rank(last, timestamps[i], values[i]))
    numbers = [value for value in values if not isnan(value)] if any(map(isnan, values)) else values
    return Summary(
        value=values[latest],
        step=last,
        timestamp=timestamps[latest],
        count=len(steps),
        min=min(numbers, default=None),
        max=max(numbers, default=None),
    )


def _rank(step: int, timestamp: int, value: float) -> tuple[int, int, bool, float]:
    return (step, timestamp, True, value) if not isnan(value) else (step, timestamp, False, 0.0)


def _upsert(insert: Any) -> Any:
    statement = insert(schema.metric)
    new = statement.excluded
    later = sa.or_(
        new.step > _metric.step,
        sa.and_(
            new.step == _metric.step,
            sa.or_(
                new.timestamp > _metric.timestamp,
                sa.and_(
                    new.timestamp == _metric.timestamp,
                    new.value.is_not(None),
                    sa.or_(_metric.value.is_(None), new.value >= _metric.value),
                ),
            ),
        ),
    )
    latest = {name: sa.case((later, new[name]), else_=_metric[name]) for name in ("bits", "value", "step", "timestamp")}
    return statement.on_conflict_do_update(
        index_elements=["run_id", "key"],
        set_={
            **latest,
            "count": _metric.count + new.count,
            "min": sa.case((sa.or_(_metric.min.is_(None), new.min < _metric.min), new.min), else_=_metric.min),
            "max": sa.case((sa.or_(_metric.max.is_(None), new.max > _metric.max), new.max), else_=_metric.max),
        },
    )


_UPSERT = Upsert(_upsert)
_INSERT_CHUNK = sa.insert(schema.metric_chunk)
OF_RUNS = (
    sa.select(
        _metric.run_id,
        _metric.key,
        _metric.bits,
        _metric.timestamp,
        _metric.step,
        _metric.count,
        _metric.min,
        _metric.max,
    )
    .where(among(_metric.run_id, "run_ids"))
    .order_by(_metric.run_id, _metric.key)
)
_SIZES = (
    sa.select(_chunk.id, _chunk.count)
    .where(_chunk.run_id == sa.bindparam("run_id"), _chunk.key == sa.bindparam("metric"))
    .order_by(_chunk.id)
)
_BETWEEN = (
    sa.select(_chunk.codec, _chunk.count, _chunk.points)
    .where(
        _chunk.run_id == sa.bindparam("run_id"),
        _chunk.key == sa.bindparam("metric"),
        _chunk.id.between(sa.bindparam("first"), sa.bindparam("last")),
    )
    .order_by(_chunk.id)
)
_CROWDED = (
    sa.select(_chunk.run_id, _chunk.key)
    .where(among(_chunk.run_id, "run_ids"), _chunk.count < MERGED // 2)
    .group_by(_chunk.run_id, _chunk.key)
    .having(sa.func.count() > 1)
)
_LOCK = (
    sa.select(_metric.count)
    .where(_metric.run_id == sa.bindparam("run_id"), _metric.key == sa.bindparam("metric"))
    .with_for_update()
)
_REPLACE = (
    sa.update(schema.metric_chunk)
    .where(_chunk.id == sa.bindparam("chunk"))
    .values(count=sa.bindparam("size"), codec=sa.bindparam("how"), points=sa.bindparam("packed"))
)
_DROP = sa.delete(schema.metric_chunk).where(
    _chunk.run_id == sa.bindparam("run_id"),
    _chunk.key == sa.bindparam("metric"),
    _chunk.id > sa.bindparam("first"),
    _chunk.id <= sa.bindparam("last"),
)


def additions(
    connection: Connection,
    summaries: Mapping[tuple[str, str], Summary],
    packed: Sequence[dict[str, Any]],
    experiments: Mapping[str, str],
) -> tuple[writes.Part, writes.Part]:
    """What adds points to histories and summaries.

    Parameters
    ----------
    summaries
        By (run, metric).
    packed
        Rows of ``metric_chunk``, in the order logged.
    experiments
        The experiment of each run.
    """
    rows = [
        {
            "run_id": run_id,
            "key": key,
            "experiment_id": experiments[run_id],
            "bits": float_bits(summary.value),
            "value": None if isnan(summary.value) else summary.value,
            "step": summary.step,
            "timestamp": summary.timestamp,
            "count": summary.count,
            "min": summary.min,
            "max": summary.max,
        }
        for (run_id, key), summary in sorted(summaries.items(), key=lambda item: item[0])
    ]
    # First the summaries: their rows are locked, so that ids of one history's chunks are given and committed in one
    # order, which is the order of the history.
    return (_UPSERT.on(connection), rows), (_INSERT_CHUNK, packed)


def summaries(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[MetricSummary, ...]]:
    """The summaries that :data:`OF_RUNS` gave, by run, each by key."""
    columns = list(zip(*rows, strict=True))
    return by_run(columns, lambda keys, bits, *rest: map(MetricSummary, keys, _values(bits), *rest))


def history(
    connection: Connection, run_id: str, key: str, start: int = 0, stop: int | None = None
) -> tuple[Points, int]:
    """The points ``[start, stop)`` of a history as logged, counted before duplicates are left out, and how many there
    are in all."""
    sizes = connection.execute(_SIZES, {"run_id": run_id, "metric": key}).all()
    total = sum(size for _, size in sizes)
    if stop is None or stop > total:
        stop = total
    first = last = skipped = None
    passed = 0
    for chunk_id, size in sizes:
        if passed < stop and passed + size > start:
            if first is None:
                first, skipped = chunk_id, passed
            last = chunk_id
        passed += size
    if first is None or skipped is None:
        return chunks.no_points(), total
    bound = {"run_id": run_id, "metric": key, "first": first, "last": last}
    points = chunks.join((codec, count, packed) for codec, count, packed in connection.execute(_BETWEEN, bound))
    if skipped == start and len(points) == stop - start:
        return points, total
    part = slice(start - skipped, stop - skipped)
    return Points(points.steps[part], points.timestamps[part], points.values[part]), total


def with_small_chunks(connection: Connection, run_ids: Sequence[str]) -> list[tuple[str, str]]:
    """The histories (run, metric) of the runs that have several small chunks."""
    if not run_ids:
        return []
    [rows] = fetch(connection, [_CROWDED], {"run_ids": run_ids})
    return [(run_id, key) for run_id, key in rows]


def merge_small(connection: Connection, histories: Iterable[tuple[str, str]]) -> None:
    """Join neighbouring small chunks of histories (run, metric), which stay as they are."""
    for run_id, key in sorted(histories):
        bound = {"run_id": run_id, "metric": key}
        connection.execute(_LOCK, bound)
        group: list[int] = []
        points = 0
        for chunk_id, size in [*connection.execute(_SIZES, bound).all(), (0, MERGED)]:
            if size >= MERGED // 2 or points + size > MERGED:
                _join(connection, bound, group)
                group, points = [], 0
            if size < MERGED // 2:
                group.append(chunk_id)
                points += size


def _join(connection: Connection, bound: dict[str, Any], group: Sequence[int]) -> None:
    if len(group) < 2:
        return
    span = {**bound, "first": group[0], "last": group[-1]}
    points = chunks.join((codec, count, packed) for codec, count, packed in connection.execute(_BETWEEN, span))
    codec, packed = chunks.pack(points)
    connection.execute(_DROP, span)
    connection.execute(_REPLACE, {"chunk": group[0], "size": len(points), "how": codec, "packed": packed})


def float_bits(value: float) -> int:
    """The IEEE 754 pattern of ``value`` as a signed integer."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits


def bits_value(bits: int) -> float:
    """The value of which :func:`float_bits` gave ``bits``."""
    return _values([bits])[0]


def _values(bits: Sequence[int]) -> array[float]:
    return array("d", array("q", bits).tobytes())
