"""Reading a metric's history: page by page, each point once, or as few points as a chart can show."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from math import isnan
from operator import lt

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


def sampled(
    connection: Connection, run_id: str, key: str, width: int, first: int | None, last: int | None
) -> tuple[MetricPoint, ...]:
    """At most ``4 * width`` points of the steps ``first`` to ``last`` of a history, ordered by step."""
    if type(width) is not int or not 1 <= width <= WIDEST_SAMPLE:
        raise InvalidValue(f"width: {width!r} is not possible; 1 to {WIDEST_SAMPLE} are")
    for name, bound in (("first", first), ("last", last)):
        if bound is not None and type(bound) is not int:
            raise InvalidValue(f"{name}: {bound!r} is no step; steps are integers")
    points = _by_step(metrics.history(connection, run_id, key)[0])
    begin = 0 if first is None else bisect_left(points.steps, first)
    end = len(points) if last is None else bisect_right(points.steps, last)
    steps, timestamps, values = points.steps, points.timestamps, points.values
    return tuple(MetricPoint(steps[i], timestamps[i], values[i]) for i in m4(points, begin, end, width))


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


def m4(points: Points, begin: int, end: int, width: int) -> Iterator[int]:
    """Of each of ``width`` equal ranges of the steps of ``points[begin:end]``, which are ordered by step, where the
    first, last, least and greatest point is (M4: Jugel et al., VLDB 2014). NaN is neither least nor greatest."""
    if end - begin <= 4 * width:
        yield from range(begin, end)
        return
    start = points.steps[begin]
    span = points.steps[end - 1] - start + 1
    for bucket in range(1, width + 1):
        stop = bisect_left(points.steps, start - (-bucket * span // width), begin, end)
        if stop > begin:
            yield from sorted({begin, stop - 1, *_extremes(points.values, begin, stop)})
        begin = stop


def _extremes(values: array[float], begin: int, end: int) -> tuple[int, ...]:
    """Where the least and the greatest of ``values[begin:end]`` are."""
    # Whole slices at C's speed: a million points one by one take seconds.
    part = values[begin:end]
    numbers = [value for value in part if not isnan(value)] if any(map(isnan, part)) else part
    return (begin + part.index(min(numbers)), begin + part.index(max(numbers))) if numbers else ()


def _by_step(points: Points) -> Points:
    """Each point once, ordered by step and time."""
    if all(map(lt, points.steps, islice(points.steps, 1, None))):
        return points
    ordered = sorted(distinct(points), key=lambda point: point[:2])
    steps, timestamps, values = zip(*ordered, strict=True)
    return Points(array("q", steps), array("q", timestamps), array("d", values))


def _steps_differ(points: Points) -> bool:
    """Whether each step comes once, so that each point does."""
    return len(set(points.steps)) == len(points)
