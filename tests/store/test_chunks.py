from __future__ import annotations

import math
import struct
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_mlops.core.records import Batch, Metric
from jupyter_mlops.core.values import LARGEST_INT, SMALLEST_INT
from jupyter_mlops.store.chunks import RAW, SHUFFLED_ZLIB, Points, join, pack, points_of, unpack

INTEGERS = st.integers(SMALLEST_INT, LARGEST_INT)
POINTS = st.lists(st.tuples(INTEGERS, INTEGERS, st.floats()), max_size=200)


def points(triples: list[tuple[int, int, float]]) -> Points:
    columns = list(zip(*triples, strict=True)) or [(), (), ()]
    return Points(array("q", columns[0]), array("q", columns[1]), array("d", columns[2]))


def raw(packed: Points) -> bytes:
    return packed.steps.tobytes() + packed.timestamps.tobytes() + packed.values.tobytes()


@given(POINTS)
@example([(SMALLEST_INT, LARGEST_INT, math.nan)] * 100)
@example([(step, step * 7, -0.0) for step in range(100)])
def test_points_come_back_bit_by_bit(triples: list[tuple[int, int, float]]) -> None:
    given = points(triples)
    codec, packed = pack(given)
    assert raw(unpack(codec, len(given), packed)) == raw(given)


@given(st.lists(POINTS, max_size=4))
def test_joined_chunks_follow_each_other(parts: list[list[tuple[int, int, float]]]) -> None:
    packed = [(codec, len(part), data) for part in parts for codec, data in [pack(points(part))]]
    assert raw(join(packed)) == raw(points([point for part in parts for point in part]))


def test_the_layout_is_little_endian() -> None:
    assert pack(points([(1, 2, 0.5), (-1, 3, math.inf)])) == (RAW, struct.pack("<qqqqdd", 1, -1, 2, 3, 0.5, math.inf))


def test_a_regular_history_is_compressed_well() -> None:
    codec, packed = pack(points([(step, 1_700_000_000_000 + step * 250, 1 / (1 + step)) for step in range(5000)]))
    assert codec == SHUFFLED_ZLIB
    assert len(packed) < 5000 * 24 / 2


def test_a_damaged_chunk_is_noticed() -> None:
    codec, packed = pack(points([(1, 2, 0.5)]))
    with pytest.raises(ValueError, match="2 points"):
        unpack(codec, 2, packed)


def test_points_are_sorted_by_metric_and_nans_become_one() -> None:
    (odd_nan,) = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))
    metrics = [
        Metric("a", 1.0, 10, 1),
        Metric("b", odd_nan, 20, 2),
        Metric("a", 2.0, 30, 3),
        Metric("b", math.nan, 20, 2),
    ]
    by_key = points_of(Batch(metrics=tuple(metrics)))
    assert list(by_key) == ["a", "b"]
    assert by_key["a"] == points([(1, 10, 1.0), (3, 30, 2.0)])
    assert len(set(by_key["b"].bits)) == 1
