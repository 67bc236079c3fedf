"""Whole histories logged in one call."""

from __future__ import annotations

from typing import Any

from jupyter_mlops.core import values as checks
from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.records import Batch
from jupyter_mlops.recording.session import checked_id, current
from jupyter_mlops.tracker.spoolfile import Log


@checked_call
def log_series(key: str, values: Any, *, steps: Any = None, timestamps: Any = None, run_id: str | None = None) -> None:
    """Log many points of one metric, such as a loss of each batch kept in an array: all or none of them.

    Parameters
    ----------
    key
        The metric's name: at most 250 characters.
    values
        Numbers: a sequence or a one-dimensional array.
    steps
        As many integers; 0, 1, 2... when absent.
    timestamps
        As many milliseconds since the epoch; all now when absent.
    run_id
        The run; the active one when absent.
    """
    session = current()
    made = checks.series(key, values, steps=steps, timestamps=timestamps)
    target = session.logged_to().run_id if run_id is None else checked_id(run_id, "run_id")
    session.delivery.append(Log(target, Batch(series=(made,))))
