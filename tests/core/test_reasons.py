"""Why a run ended, in words."""

from __future__ import annotations

import pytest

from jupyter_mlops.core.reasons import brief, failing_line, headline
from jupyter_mlops.core.records import Reason, ReasonKind

NOW = "ValueError  Traceback (most recent call last)\nCell In[5], line 3\n      1 x = 0\n> 3 f(x)\n\nCell In[2], line 9"
BEFORE = "ValueError    Traceback (most recent call last)\nInput In [5], in <cell line: 3>()\n----> 3 f(x)"


def reason(kind: ReasonKind, message: str, cell: int | None = 6, traceback: str | None = None) -> Reason:
    return Reason(kind=kind, message=message, cell=cell, traceback=traceback)


@pytest.mark.parametrize(
    ("why", "long", "short"),
    [
        (
            reason(ReasonKind.CELL_ERROR, "ValueError: no\nat all", traceback=NOW),
            "cell error in cell 7 (In [5]): ValueError: no\nat all",
            "cell 7: ValueError: no",
        ),
        (
            reason(ReasonKind.CELL_ERROR, "ValueError: no", traceback=BEFORE),
            "cell error in cell 7 (In [5]): ValueError: no",
            "cell 7: ValueError: no",
        ),
        (
            reason(ReasonKind.CELL_ERROR, "stop", cell=0, traceback="an error of another language"),
            "cell error in cell 1: stop",
            "cell 1: stop",
        ),
        (
            reason(ReasonKind.CANCELLED, "cancelled by SIGTERM"),
            "cancelled by SIGTERM in cell 7",
            "cancelled by SIGTERM in cell 7",
        ),
        (reason(ReasonKind.RUNNER_LOST, "killed", cell=None), "runner lost: killed", "runner lost: killed"),
        (reason(ReasonKind.ERROR, "2 of 6 points failed", cell=None), "2 of 6 points failed", "2 of 6 points failed"),
        (reason(ReasonKind.ERROR, "OSError: no"), "error in cell 7: OSError: no", "cell 7: OSError: no"),
        (reason(ReasonKind.TIMEOUT, "after 3 s"), "time-out in cell 7: after 3 s", "time-out in cell 7: after 3 s"),
    ],
)
def test_cells_are_counted_from_one(why: Reason, long: str, short: str) -> None:
    assert headline(why) == long
    assert brief(why) == short


@pytest.mark.parametrize("traceback", [NOW, BEFORE])
def test_the_failing_line_is_the_cells_own(traceback: str) -> None:
    assert failing_line(reason(ReasonKind.CELL_ERROR, "ValueError", traceback=traceback)) == 3


def test_no_failing_line_without_a_traceback_that_tells() -> None:
    assert failing_line(reason(ReasonKind.CELL_ERROR, "ValueError")) is None
    assert failing_line(reason(ReasonKind.CELL_ERROR, "ValueError", traceback="Traceback\nCell In[3]")) is None
