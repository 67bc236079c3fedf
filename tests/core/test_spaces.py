"""Sweep spaces: what an axis may be, and the points that axes span."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.parameters import declared
from jupyter_mlops.core.spaces import (
    Axis,
    Interval,
    axis_text,
    choice,
    count,
    grid,
    integer,
    loguniform,
    make_axis,
    parse_axis,
    parse_grid,
    points,
    sample,
    uniform,
)


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
        ("x=choice(a, 1,[2])", ("a", 1, [2])),
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
        ("x=log(1e-4,1e-1)", r"this is not log\(start,stop,n\); a text is written in quotes"),
        ("x=uniform(nan,1)", r"this is not uniform\(low,high\) with no other value beside it"),
        ("x=uniform(0,1),5", "with no other value beside it"),
        ("x='a", "' is missing"),
        ("x=[1,[2]", r"\] is missing"),
        ("x=[1,a]", "no list or dict"),
        ("../x=1", "parameter key"),
        ("x=uniform(1,1)", "nothing between 1.0 and 1.0"),
        ("x=uniform(2,1)", "give the lesser number first"),
        ("x=uniform(-1.7e308,1.7e308)", "nothing between"),
        ("x=uniform(1)", r"uniform\(low,high\) has not 1 numbers"),
        ("x=loguniform(0,1)", "0.0 is not positive"),
        ("x=loguniform(1,2,3)", "has not 3 numbers"),
        ("x=int(1,2.5)", "takes whole numbers"),
        ("x=int(1,9,0)", "a step of 0"),
        ("x=int(0,9007199254740993)", "is no whole number from"),
    ],
)
def test_axis_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        parse_axis(text)


pieces = [*"x=,:'\"[]{}()1.e-lo g\\", "uniform(", "loguniform(", "int(", "choice(", "log("]


@given(st.lists(st.sampled_from(pieces), max_size=14).map("".join))
def test_garbage_raises_nothing_but_an_invalid_value(text: str) -> None:
    try:
        found = parse_axis(f"x={text}")
    except InvalidValue:
        return
    assert found.examples


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


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("x=uniform(0, 1)", uniform(0, 1)),
        ("x=loguniform(1e-4,1e-1)", loguniform(1e-4, 1e-1)),
        ("x=int(3,9)", integer(3, 9)),
        ("x=int(3,10,3)", Interval(3, 9, step=3)),
    ],
)
def test_an_interval_is_written_and_read_alike(text: str, interval: Interval) -> None:
    found = parse_axis(text)
    assert found == Axis("x", interval)
    assert parse_axis(axis_text(found)) == found


def test_an_axis_that_was_given_as_values_is_written_as_they_are() -> None:
    values = choice("rf", "True", "a,b", "it's", 1, 0.5, None, [64, "x"], {"a": 1})
    axis = make_axis("x", values)
    assert axis_text(axis) == """x=rf,'True','a,b',"it's",1,0.5,None,[64, 'x'],{'a': 1}"""
    assert repr(parse_axis(axis_text(axis)).values) == repr(values)
    with pytest.raises(InvalidValue, match="empty"):
        make_axis("x", [])
    with pytest.raises(InvalidValue, match="there twice"):
        make_axis("x", [1, 1])


@given(st.integers(), st.integers(1, 20))
def test_a_sample_of_intervals_is_within_them_different_and_repeatable(seed: int, n: int) -> None:
    axes = parse_grid(["a=loguniform(1e-6,1e2)", "b=int(-4,8,4)", "c=x,y", "d=uniform(-1,1)"])
    found = list(points(axes, n, seed))
    assert found == list(sample(axes, n, seed))
    assert len({repr(point) for point in found}) == n
    for point in found:
        a, b, c, d = point.values()
        assert isinstance(a, float)
        assert isinstance(d, float)
        assert 1e-6 <= a <= 1e2
        assert b in (-4, 0, 4, 8)
        assert type(b) is int
        assert c in ("x", "y")
        assert -1 <= d <= 1


def test_loguniform_draws_each_magnitude_alike() -> None:
    drawn = [point["a"] for point in sample(parse_grid(["a=loguniform(1e-4,1)"]), 4000, seed=1)]
    counts = [sum(1 for value in drawn if 10**-e <= value < 10 ** (1 - e)) for e in (1, 2, 3, 4)]  # type: ignore[operator]
    assert min(counts) > 900


def test_all_of_a_space_of_whole_numbers_can_be_drawn_and_no_more() -> None:
    axes = parse_grid(["a=int(1,50)", "b=x,y"])
    assert len({repr(point) for point in sample(axes, 100, seed=1)}) == 100
    with pytest.raises(InvalidValue, match="101 different points cannot be drawn from a grid of 100"):
        sample(axes, 101)
    with pytest.raises(InvalidValue, match="were not found in"):
        sample(parse_grid(["a=uniform(0,5e-324)"]), 3)


def test_an_interval_spans_no_grid() -> None:
    with pytest.raises(InvalidValue, match=r"a=uniform\(0.0,1.0\) is no list of values; draw points with a sample"):
        points(parse_grid(["a=uniform(0,1)"]))
