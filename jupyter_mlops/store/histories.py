"""Reading a metric's history: page by page, each point once, or as few points as a chart can show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import LARGEST_PAGE, MetricPoint, Page
from jupyter_mlops.store import metrics, tokens
from jupyter_mlops.store.chunks import Points

WIDEST_SAMPLE = 10_000

Point = tuple[int, int, float]


class _Place(msgspec.Struct, array_like=True):
    """How many logged points were passed, and the greatest step among them. Merging chunks changes neither."""

    offset: int
    greatest: int


def page(connection: Connection, run_id: str, key: str, limit: int, page_token: str | None) -> Page[MetricPoint]:
    """The next points of a history, in the order logged, an identical one once.

    A page may hold fewer than ``limit`` points (none, even) and not be the last.
    """
    if type(limit) is not int or not 1 <= limit <= LARGEST_PAGE:
        raise InvalidValue(f"limit: {limit!r} is not possible; a page holds 1 to {LARGEST_PAGE} points")
    asked = f"history\n{run_id}\n{key}"
    place = None if page_token is None else tokens.decode(asked, page_token, _Place)
    start = 0 if place is None else max(0, place.offset)
    points, total = metrics.history(connection, run_id, key, start, start + limit)
    if not points:
        return Page(items=())
    least, greatest = min(points.steps), max(points.steps)
    items: tuple[MetricPoint, ...]
    if _steps_differ(points) and (place is None or least > place.greatest):
        items = tuple(map(MetricPoint, points.steps, points.timestamps, points.values))
    else:
        before = metrics.history(connection, run_id, key, 0, start)[0] if start else None
        items = tuple(MetricPoint(*point) for point in distinct(points, before))
    reached = start + len(points)
    if reached >= total:
        return Page(items=items)
    if place is not None:
        greatest = max(greatest, place.greatest)
    return Page(items=items, next_page_token=tokens.encode(asked, _Place(reached, greatest)))


def sampled(connection: Connection, run_id: str, key: str, width: int) -> tuple[MetricPoint, ...]:
    """At most ``4 * width`` points of a history, ordered by step."""
    if type(width) is not int or not 1 <= width <= WIDEST_SAMPLE:
        raise InvalidValue(f"width: {width!r} is not possible; 1 to {WIDEST_SAMPLE} are")
    points, _ = metrics.history(connection, run_id, key)
    if _steps_differ(points):
        ordered = list(zip(points.steps, points.timestamps, points.values, strict=True))
    else:
        ordered = distinct(points)
    ordered.sort(key=lambda point: point[:2])
    return tuple(MetricPoint(*point) for point in m4(ordered, width))


def distinct(points: Points, before: Points | None = None) -> list[Point]:
    """Each (step, timestamp, value) once, where it first came; without those that ``before`` has."""
    seen: set[tuple[int, int, int]] = set()
    if before is not None:
        seen.update(zip(before.steps, before.timestamps, before.bits, strict=True))
    kept: list[Point] = []
    for step, timestamp, bits, value in zip(points.steps, points.timestamps, points.bits, points.values, strict=True):
        point = (step, timestamp, bits)
        if point not in seen:
            seen.add(point)
            kept.append((step, timestamp, value))
    return kept


def m4(points: Sequence[Point], width: int) -> list[Point]:
    """Of each of ``width`` equal ranges of steps the first, last, least and greatest point (M4: Jugel et al., VLDB
    2014). ``points`` are ordered by step; NaN is neither least nor greatest."""
    if len(points) <= 4 * width:
        return list(points)
    start, span = points[0][0], points[-1][0] - points[0][0] + 1
    kept: list[Point] = []
    begin = 0
    while begin < len(points):
        bucket = (points[begin][0] - start) * width // span
        low = high = None
        end = begin
        while end < len(points) and (points[end][0] - start) * width // span == bucket:
            value = points[end][2]
            if not math.isnan(value):
                low = end if low is None or value < points[low][2] else low
                high = end if high is None or value > points[high][2] else high
            end += 1
        kept.extend(points[i] for i in sorted({begin, end - 1, *(i for i in (low, high) if i is not None)}))
        begin = end
    return kept


def _steps_differ(points: Points) -> bool:
    """Whether each step comes once, so that each point does."""
    return len(set(points.steps)) == len(points)
