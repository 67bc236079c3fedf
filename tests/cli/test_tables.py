"""Which columns fit."""

from __future__ import annotations

import pytest

from jupyter_mlops.cli.tables import Column, cells, fit, fitted, short_ids


def column(header: str, width: int, *, rank: int = 0, least: int | None = None) -> Column:
    return Column(header=header, cells=cells(["x" * width]), rank=rank, least=least)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (100, [("name", 30), ("took", 10), ("auc", 10), ("id", 12)]),
        (68, [("name", 30), ("took", 10), ("auc", 10), ("id", 12)]),
        (67, [("name", 29), ("took", 10), ("auc", 10), ("id", 12)]),
        (55, [("name", 29), ("auc", 10), ("id", 12)]),
        (45, [("name", 30), ("auc", 10)]),
        (30, [("name", 30)]),
        (10, [("name", 20)]),
    ],
)
def test_the_most_important_columns_are_kept(width: int, expected: list[tuple[str, int]]) -> None:
    columns = [
        column("name", 30, least=20),
        column("took", 10, rank=9),
        column("auc", 10, rank=1),
        column("id", 12, rank=5),
    ]
    assert [(shown.header, given) for shown, given in fitted(columns, width)] == expected


def test_empty_columns_are_not_missed() -> None:
    _, left_out = fit([column("name", 30), column("auc", 10, rank=1), column("reason", 0, rank=2)], 20)
    assert [missing.header for missing in left_out] == ["auc"]


def test_wide_characters_take_two_cells() -> None:
    assert Column(header="a", cells=cells(["日本"])).natural == 4


def test_short_ids_differ() -> None:
    one, two = "0" * 31 + "1", "0" * 31 + "2"
    assert short_ids([one, two]) == [one, two]
    assert short_ids([one, one]) == ["0" * 12, "0" * 12]
    assert short_ids([]) == []
