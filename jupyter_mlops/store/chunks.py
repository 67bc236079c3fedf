"""A metric's history as packed chunks.

A chunk holds points in the order logged: all steps (int64), all timestamps (int64), all values (float64),
little-endian. Where it pays, the bytes are shuffled (first bytes of all numbers, then second bytes, ...), which lays
the slowly changing ones side by side, and compressed by zlib.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable
from math import isnan, nan

import msgspec

from jupyter_mlops.core.records import Batch, Metric

RAW, SHUFFLED_ZLIB = 0, 1
"""Codecs."""

_WORTH_COMPRESSING = 64
_WIDTH = 8


class Points(msgspec.Struct):
    """Points of one metric as three arrays of equal length, in the order logged."""

    steps: array[int]
    timestamps: array[int]
    values: array[float]

    def __len__(self) -> int:
        return len(self.steps)

    def extend(self, other: Points) -> None:
        self.steps.extend(other.steps)
        self.timestamps.extend(other.timestamps)
        self.values.extend(other.values)

    @property
    def bits(self) -> array[int]:
        """The IEEE 754 patterns of the values as signed integers."""
        return array("q", self.values.tobytes())


def no_points() -> Points:
    return Points(array("q"), array("q"), array("d"))


def points_of(batch: Batch) -> dict[str, Points]:
    """The points that a batch logs, by metric, in the order given. All NaNs become the same NaN, so that equal bits
    mean equal points."""
    by_key: dict[str, list[Metric]] = {}
    for metric in batch.metrics:
        same = by_key.get(metric.key)
        if same is None:
            by_key[metric.key] = [metric]
        else:
            same.append(metric)
    found = {
        key: Points(
            array("q", [metric.step for metric in same]),
            array("q", [metric.timestamp for metric in same]),
            array("d", [value if (value := metric.value) == value else nan for metric in same]),
        )
        for key, same in by_key.items()
    }
    for series in batch.series:
        points = _from_little_endian(series.steps, series.timestamps, series.values)
        if any(map(isnan, points.values)):
            points.values = array("d", [nan if isnan(value) else value for value in points.values])
        if series.key in found:
            found[series.key].extend(points)
        else:
            found[series.key] = points
    return found


def pack(points: Points) -> tuple[int, bytes]:
    """The codec and the bytes of a chunk."""
    raw = b"".join(_little_endian(numbers) for numbers in (points.steps, points.timestamps, points.values))
    if len(points) >= _WORTH_COMPRESSING:
        packed = zlib.compress(b"".join(raw[byte::_WIDTH] for byte in range(_WIDTH)), 1)
        if len(packed) < len(raw):
            return SHUFFLED_ZLIB, packed
    return RAW, raw


def unpack(codec: int, count: int, packed: bytes) -> Points:
    """The points of a chunk of ``count`` points."""
    if codec == SHUFFLED_ZLIB:
        shuffled = zlib.decompress(packed)
        plane = len(shuffled) // _WIDTH
        raw = bytearray(len(shuffled))
        for byte in range(_WIDTH):
            raw[byte::_WIDTH] = shuffled[byte * plane : (byte + 1) * plane]
    else:
        raw = bytearray(packed)
    size = count * _WIDTH
    if len(raw) != 3 * size:
        raise ValueError(f"a metric chunk of {count} points has {len(raw)} bytes instead of {3 * size}")
    return _from_little_endian(raw[:size], raw[size : 2 * size], raw[2 * size :])


def join(chunks: Iterable[tuple[int, int, bytes]]) -> Points:
    """The points of chunks given as (codec, count, bytes), one after the other."""
    points = no_points()
    for codec, count, packed in chunks:
        points.extend(unpack(codec, count, packed))
    return points


def _from_little_endian(steps: bytes | bytearray, timestamps: bytes | bytearray, values: bytes | bytearray) -> Points:
    points = no_points()
    for numbers, content in ((points.steps, steps), (points.timestamps, timestamps), (points.values, values)):
        numbers.frombytes(content)
        if sys.byteorder == "big":
            numbers.byteswap()
    return points


def _little_endian(numbers: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
