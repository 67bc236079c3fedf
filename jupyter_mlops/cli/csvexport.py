"""Runs as CSV: ``jupyter mlops runs export``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from jupyter_mlops.core.records import Run


def as_csv(runs: Sequence[Run]) -> str:
    """One line a run, with MLflow's column names: ``params.NAME``, ``metrics.NAME`` (the latest value) and
    ``tags.NAME`` in sorted order. Times are milliseconds since the epoch; floats are written exactly."""
    rows = [_row(run) for run in runs]
    fixed = list(_fixed(runs[0])) if runs else []
    logged = sorted({key for row in rows for key in row} - set(fixed))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*fixed, *logged], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(run: Run) -> dict[str, object]:
    row = _fixed(run)
    row.update((f"params.{param.key}", param.text) for param in run.params)
    row.update((f"metrics.{metric.key}", repr(metric.value)) for metric in run.metrics)
    row.update((f"tags.{tag.key}", tag.value) for tag in run.tags)
    return row


def _fixed(run: Run) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment_id": run.experiment_id,
        "status": run.status.value,
        "kind": run.kind.value,
        "user": run.user,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "source": run.source,
        "parent_run_id": run.parent_run_id,
        "hidden_state": run.hidden_state,
        "reason": run.reason.message if run.reason is not None else None,
    }
