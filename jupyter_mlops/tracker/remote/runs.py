"""Runs of a service."""

from __future__ import annotations

from typing import cast

import msgspec

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.batches import check_batch
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, NewRun, Run, RunChange, StreamPosition
from jupyter_mlops.core.run_fields import check_change, check_new_run
from jupyter_mlops.tracker.operations import operation
from jupyter_mlops.tracker.remote.nouns import Noun

_CREATE, _LOG, _CHANGE = operation("runs.create"), operation("runs.log"), operation("runs.change")


class RemoteRuns(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Runs`. What is written is checked here too, where the caller can be
    told by name what is wrong: not all of it could be sent."""

    noun = "runs"

    @checked_call
    def create(self, new: NewRun, position: StreamPosition | None = None) -> Run:
        check_new_run(new)
        # With an id of its own, a run that is sent twice is created once.
        named = msgspec.structs.replace(new, run_id=new.run_id or new_id())
        return cast(Run, self._client.call(_CREATE, {"new": named, "position": position}))

    @checked_call
    def log(self, run_id: str, batch: Batch, position: StreamPosition | None = None) -> None:
        check_batch(batch)
        self._client.call(_LOG, {"run_id": run_id, "batch": batch, "position": position})

    @checked_call
    def change(self, run_id: str, change: RunChange, position: StreamPosition | None = None) -> Run:
        check_change(change)
        return cast(Run, self._client.call(_CHANGE, {"run_id": run_id, "change": change, "position": position}))
