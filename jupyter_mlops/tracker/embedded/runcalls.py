"""Writes to runs, checked, as calls that the store's one writer applies: whoever submits them decides how to wait."""

from __future__ import annotations

import json

import msgspec

from jupyter_mlops.core import values
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.batches import check_batch, check_json
from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.ids import is_id, new_id, new_run_name
from jupyter_mlops.core.records import Batch, Json, NewRun, RunChange, StreamPosition
from jupyter_mlops.core.redaction import redact_batch, redact_text, redact_value
from jupyter_mlops.core.run_fields import check_change, check_new_run, check_position
from jupyter_mlops.store.calls import Append, Change, Create, Heartbeat, Log
from jupyter_mlops.tracker.embedded._context import Context


@checked
class RunCalls:
    """Takes what the methods of :class:`jupyter_mlops.tracker.protocol.Runs`, and of ``LogsAndChanges``, of the same
    names take; there is none like ``append``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, new: NewRun, position: StreamPosition | None = None) -> Create:
        run_id = new.run_id or new_id()
        if not is_id(run_id):
            raise InvalidValue(
                f"run id {values.short(run_id)}: an id is 32 hex digits in lower case; leave it out for a new one"
            )
        check_new_run(new)
        new = _redacted_run(new)
        name = new_run_name() if new.name is None else new.name
        if not is_id(new.experiment_id):
            raise NotFound(f"experiment {values.short(new.experiment_id)} does not exist")
        if new.parent_run_id is not None:
            check_run_id(new.parent_run_id)
        check_position(position)
        return Create(run_id, name, new, self._context.clock(), self._context.caller, position)

    def log(self, run_id: str, batch: Batch, position: StreamPosition | None = None) -> Log:
        check_run_id(run_id)
        check_position(position)
        check_batch(batch)
        return Log(run_id, redact_batch(batch), self._context.caller, position)

    def append(self, run_id: str, key: str, item: dict[str, Json]) -> Append:
        """Add ``item`` to the list in the tag ``key``, a JSON array, unless it is in it: of several at once, each finds
        what the others added."""
        check_run_id(run_id)
        check_json(item, f"tag {values.short(key)}")
        text = json.dumps(redact_value(key, item))
        values.appended(key, "", text)
        return Append(run_id, values.check_key(key, "tag"), text, self._context.caller)

    def change(self, run_id: str, change: RunChange, position: StreamPosition | None = None) -> Change:
        return self._change(run_id, change, position, None)

    def log_and_change(
        self, run_id: str, batch: Batch, change: RunChange, position: StreamPosition | None = None
    ) -> Change:
        return self._change(run_id, change, position, self.log(run_id, batch))

    def _change(self, run_id: str, change: RunChange, position: StreamPosition | None, log: Log | None) -> Change:
        check_run_id(run_id)
        check_position(position)
        check_change(change)
        return Change(run_id, _redacted_change(change), self._context.caller, position, log)

    def heartbeat(self, run_id: str) -> Heartbeat:
        check_run_id(run_id)
        return Heartbeat(run_id, self._context.caller)


def check_run_id(run_id: str) -> None:
    """Raise ``NotFound`` for what no run can have as its id."""
    if not is_id(run_id):
        raise NotFound(f"run {values.short(run_id)} does not exist")


def _redacted_run(new: NewRun) -> NewRun:
    batch, source = redact_batch(new.batch), redact_text(new.source)
    if batch is new.batch and source == new.source:
        return new
    return msgspec.structs.replace(new, batch=batch, source=source)


def _redacted_change(change: RunChange) -> RunChange:
    """``source`` of a reason is the notebook's own, which stays exact."""
    reason = change.reason
    if reason is None:
        return change
    trace = reason.traceback and redact_text(reason.traceback)
    reason = msgspec.structs.replace(reason, message=redact_text(reason.message), traceback=trace)
    return msgspec.structs.replace(change, reason=reason)
