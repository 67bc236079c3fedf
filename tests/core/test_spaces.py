"""Sweep spaces: what an axis may be, and the points that axes span."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import declared
from jupyter_mlops.core.spaces import Axis, count, grid, parse_axis, parse_grid, points, sample


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x=0.01,0.1", (0.01, 0.1)),
        ("x= 1 , 2 ", (1, 2)),
        ("x=True,None,abc,1e-3", (True, None, "abc", 0.001)),
        ("x=-1", (-1,)),
        ("x=3:9:2", (3, 5, 7, 9)),
        ("x=3:8:2", (3, 5, 7)),
        ("x=1:3", (1, 2, 3)),
        ("x=9:3:-3", (9, 6, 3)),
        ("x=5:5", (5,)),
        ("x=0.1:0.5:0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("x=0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("x=1e-3:3e-3:1e-3", (0.001, 0.002, 0.003)),
        ("x=1:3,10", (1, 2, 3, 10)),
        ("x=log(1e-4,1e-1,4)", (0.0001, 0.001, 0.01, 0.1)),
        ("x=log(8, 1, 4)", (8.0, 4.0, 2.0, 1.0)),
        ("x=\"a,b\",'3:9',''", ("a,b", "3:9", "")),
        ("x=it's,a=b", ("it's", "a=b")),
        ("x=[64],[64, 32],[]", ([64], [64, 32], [])),
        ('x={"a": [1, "]"]},{}', ({"a": [1, "]"]}, {})),
        ("x=f(a,b),c", ("f(a,b)", "c")),
        ("x=a:b", ("a:b",)),
        ("x=1,1.0,True", (1, 1.0, True)),
    ],
)
def test_axis(text: str, values: tuple[Any, ...]) -> None:
    found = parse_axis(text)
    assert found.name == "x"
    assert repr(found.values) == repr(values)


def test_axis_of_a_declared_type() -> None:
    parameters = declared("t = 'x'\nn: int = 3\nxs: list[int] = []")
    assert parse_axis("t=10:30,5,None", parameters).values == ("10:30", "5", "None")
    assert parse_axis("n=1:3", parameters).values == (1, 2, 3)
    assert parse_axis("xs=[1],[2,3]", parameters).values == ([1], [2, 3])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "expected NAME=VALUES"),
        ("=1", "expected NAME=VALUES"),
        ("x=", "value 1 is empty"),
        ("x=1,,2", "value 2 is empty"),
        ("x=1,2,", "value 3 is empty"),
        ("x=1,2,1", "the value 1 is there twice"),
        ("x=1:2,2:3", "the value 2 is there twice"),
        ("x=1:0", "a step of 1 leads away from 0"),
        ("x=1:2:0", "a step of 0"),
        ("x=0:1e9:1e-3", "points are too many; at most 10000"),
        ("x=0:10000", "10001 points are too many"),
        ("x=0:9000,9001:20000", "too many"),
        ("x=log(0,1,3)", "two positive numbers"),
        ("x=log(1,10,1)", "n of at least 2"),
        ("x='a", "' is missing"),
        ("x=[1,[2]", r"\] is missing"),
        ("x=[1,a]", "no list or dict"),
        ("../x=1", "parameter key"),
    ],
)
def test_axis_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        parse_axis(text)


@given(st.lists(st.sampled_from(list("x=,:'\"[]{}()1.e-lo g\\")), max_size=14).map("".join))
def test_garbage_raises_nothing_but_an_invalid_value(text: str) -> None:
    try:
        found = parse_axis(f"x={text}")
    except InvalidValue:
        return
    assert found.values


def test_grid_needs_different_names() -> None:
    assert [axis.name for axis in parse_grid(["a=1,2", "b=3"])] == ["a", "b"]
    with pytest.raises(InvalidValue, match="'a' is there twice"):
        parse_grid(["a=1", "a=2"])


axes_of_any_size = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(
    lambda sizes: [Axis(f"a{i}", tuple(range(size))) for i, size in enumerate(sizes)]
)


@given(axes_of_any_size)
def test_grid_is_the_product_with_the_last_axis_fastest(axes: list[Axis]) -> None:
    expected = [
        {axis.name: value for axis, value in zip(axes, combination, strict=True)}
        for combination in itertools.product(*(axis.values for axis in axes))
    ]
    found = list(grid(axes))
    assert found == expected
    assert [list(point) for point in found] == [[axis.name for axis in axes]] * count(axes)
    assert list(points(axes)) == expected


@given(axes_of_any_size, st.integers(), st.data())
def test_sample_draws_different_points_repeatably(axes: list[Axis], seed: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, count(axes)))
    found = list(sample(axes, n, seed))
    assert len({tuple(point.values()) for point in found}) == n
    assert all(point in list(grid(axes)) for point in found)
    assert list(points(axes, n, seed)) == found


def test_sample_of_a_grid_too_large_to_make() -> None:
    axes = [Axis(f"a{i}", tuple(range(10_000))) for i in range(6)]
    assert count(axes) == 10**24
    found = list(sample(axes, 100, 1))
    assert len({tuple(point.values()) for point in found}) == 100
    with pytest.raises(InvalidValue, match="too many"):
        grid(axes)


@pytest.mark.parametrize(("n", "says"), [(0, "at least 1"), (5, "from a grid of 4"), (10_001, "too many")])
def test_sample_refused(n: int, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        sample(parse_grid(["a=1,2", "b=1,2"]), n)
