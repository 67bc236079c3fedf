"""Comparisons as text: a line while running, a Markdown page at the end."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from benchmarks.measure import Comparison, Timing, machine, median, versions

INTRODUCTION = """\
# Benchmarks

Made by `make bench`. Each row does the same thing in two ways, in turn, in one run; the figures are medians, the ratios
medians over the pairs. A ratio of 20x means that the peer takes twenty times as long. CPU time is that of the measuring
process and the children it started; a PostgreSQL server's own is not in it.

SQLite is in WAL mode with `synchronous=FULL` on our side, and as the peer configures it on its side.
"""
_PACKAGES = ("jupyter-mlops", "mlflow", "papermill", "optuna", "sqlalchemy", "psycopg", "numpy", "scikit-learn")
_HEADING = "\n## "
_TITLES = {"mlflow": "MLflow's API", "sweep": "Sweeps"}
"""Of suites that are not simply called after their name."""


def _seconds(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError("unreachable")


def _both(timing: Timing) -> str:
    return f"{_seconds(timing.wall)} (CPU {_seconds(timing.cpu)})"


def line(comparison: Comparison) -> str:
    """One comparison for the terminal."""
    ours, peer = median(comparison.ours), median(comparison.peer)
    return (
        f"{comparison.name}: {_both(ours)} against {comparison.peer_name} {_both(peer)}: "
        f"{comparison.wall_ratio:.2f}x wall, {comparison.cpu_ratio:.2f}x CPU"
        + (f" (goal: {comparison.goal})" if comparison.goal else "")
    )


def section(suite: str, comparisons: Sequence[Comparison], date: datetime.date) -> str:
    """A suite's part of the Markdown page."""
    parts = [
        f"{_title(suite)}\n\n"
        f"{date.isoformat()}, {machine()}; {versions(*_PACKAGES)}.\n\n"
        "| what | jupyter-mlops | peer | peer's wall / ours | peer's CPU / ours | goal |\n"
        "| --- | ---: | ---: | ---: | ---: | --- |\n"
    ]
    for c in comparisons:
        parts.append(
            f"| {c.name}, {c.unit} | {_both(median(c.ours))} | {c.peer_name}: {_both(median(c.peer))} "
            f"| {c.wall_ratio:.2f}x | {c.cpu_ratio:.2f}x | {c.goal} |\n"
        )
    notes = [f"- {c.name}: {c.note}\n" for c in comparisons if c.note]
    if notes:
        parts.append("\n" + "".join(notes))
    return "".join(parts)


def _title(suite: str) -> str:
    return _TITLES.get(suite, suite.capitalize())


def updated(page: str, fresh: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with the sections of ``fresh`` suites; those of others, and what is no suite's, stay as they are."""
    known = {part.partition("\n")[0]: part for part in page.split(_HEADING)[1:]}
    known |= {_title(suite): text for suite, text in fresh.items()}
    titles = list(map(_title, order))
    kept = [known[title] for title in (*titles, *(other for other in known if other not in titles)) if title in known]
    return INTRODUCTION + "".join(f"{_HEADING}{part.rstrip()}\n" for part in kept)
