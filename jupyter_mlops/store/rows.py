"""Rows of many owners, read in one query, as one tuple of records an owner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

T = TypeVar("T")


def by_run(rows: Sequence[Sequence[Any]], records: Callable[..., Iterable[T]]) -> dict[str, tuple[T, ...]]:
    """The records by run.

    Parameters
    ----------
    rows
        Ordered by their first column, the run's id.
    records
        Makes the records of all rows out of their other columns, column by column: at hundreds of runs a call, a loop
        in Python is what takes the time.
    """
    if not rows:
        return {}
    run_ids, *columns = zip(*rows, strict=True)
    made = tuple(records(*columns))
    found: dict[str, tuple[T, ...]] = {}
    start = 0
    for run_id, group in groupby(run_ids):
        stop = start + sum(1 for _ in group)
        found[run_id] = made[start:stop]
        start = stop
    return found
