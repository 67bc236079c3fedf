"""Calls on runs, prepared in their callers' threads: encoded and packed; applied by ``batches`` in groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Batch, Lifecycle, NewRun, Param, Run, RunChange, StreamPosition
from jupyter_mlops.core.values import encode_json
from jupyter_mlops.store import chunks, metrics
from jupyter_mlops.store.groupcommit import Call
from jupyter_mlops.store.metrics import Summary

Authorize = Callable[[Connection, str, str, str], None]
"""Raises unless the caller may write to an experiment and what is in it; takes the transaction, the experiment's owner
and id, and what the thing is called."""


class Caller(msgspec.Struct, frozen=True):
    """On whose behalf runs are written to."""

    user: str
    authorize: Authorize
    stream_user: str | None
    """Who has the streams to themselves that this caller begins, and uses no other's; None for one who may use all."""


class RunCall(Call):
    """A call on one run. ``run`` is the run as a creation or a change left it; None where that was applied before."""

    def __init__(self, run_id: str, caller: Caller, position: StreamPosition | None = None) -> None:
        super().__init__()
        self.run_id = run_id
        self.caller = caller
        self.position = position
        self.run: Run | None = None


class Log(RunCall):
    """Write a batch, which :func:`jupyter_mlops.core.batches.check_batch` has passed."""

    def __init__(self, run_id: str, batch: Batch, caller: Caller, position: StreamPosition | None = None) -> None:
        super().__init__(run_id, caller, position)
        self.params = [param_row(run_id, param) for param in batch.params]
        self.tags = {(run_id, tag.key): tag.value for tag in batch.tags}
        self.inputs = batch.inputs
        self.model_points = batch.model_points
        self.summaries: dict[str, Summary] = {}
        self.points = 0
        """Of metrics."""
        self.chunks: list[dict[str, Any]] = []
        for key, points in chunks.points_of(batch).items():
            codec, packed = chunks.pack(points)
            self.summaries[key] = metrics.summarize(points)
            self.points += len(points)
            self.chunks.append({"run_id": run_id, "key": key, "count": len(points), "codec": codec, "points": packed})
        self.rows = len(self.params) + len(self.tags) + len(self.inputs) + len(self.model_points) + 2 * len(self.chunks)


class Append(Log):
    """Add an item, a JSON text, to the JSON array in a tag of the run."""

    def __init__(self, run_id: str, key: str, item: str, caller: Caller) -> None:
        super().__init__(run_id, Batch(), caller)
        self.key = key
        self.item = item
        self.rows += 1


class Create(RunCall):
    """Create a run, unless there is one of that id."""

    def __init__(
        self,
        run_id: str,
        name: str,
        new: NewRun,
        now: int,
        caller: Caller,
        position: StreamPosition | None = None,
    ) -> None:
        super().__init__(run_id, caller, position)
        self.experiment_id = new.experiment_id
        self.parent_id = new.parent_run_id
        self.log = Log(run_id, new.batch, caller)
        self.rows = 1 + self.log.rows
        start = now if new.start_time is None else new.start_time
        self.row = {
            "id": run_id,
            "experiment_id": new.experiment_id,
            "name": name,
            "kind": new.kind.value,
            "created_by": caller.user,
            "status": new.status.value,
            "created": now,
            "start_time": start,
            "end_time": now if new.status.ended else None,
            "lifecycle": Lifecycle.ACTIVE.value,
            "parent_id": new.parent_run_id,
            "source": new.source,
            "hidden_state": new.hidden_state,
            "runner_json": _encoded(new.runner),
            "heartbeat": now,
            "submitted_by": new.submitted_by,
        }


class Change(RunCall):
    """Change fields of a run, after ``log`` has been written to it where there is one."""

    def __init__(
        self,
        run_id: str,
        change: RunChange,
        caller: Caller,
        position: StreamPosition | None = None,
        log: Log | None = None,
    ) -> None:
        super().__init__(run_id, caller, position)
        self.change = change
        self.log = log
        self.rows = 1 if log is None else 1 + log.rows
        self.reason = _encoded(change.reason)
        self.runner = _encoded(change.runner)


class Heartbeat(RunCall):
    """Note that the run's runner lives."""


def param_row(run_id: str, param: Param) -> dict[str, Any]:
    """The row of a parameter."""
    value = param.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return {
        "run_id": run_id,
        "key": param.key,
        "value_json": encode_json(value),
        "text": param.text,
        "number": float(value) if is_number else None,
        "redacted": param.redacted,
    }


def _encoded(record: msgspec.Struct | None) -> str | None:
    try:
        return None if record is None else msgspec.json.encode(record).decode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"a text of {type(record).__name__.lower()} cannot be stored: {error}") from error
