"""Runs of a service."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import NewRun, Run, StreamPosition
from jupyter_mlops.tracker.operations import operation
from jupyter_mlops.tracker.remote.nouns import Noun

_CREATE = operation("runs.create")


class RemoteRuns(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Runs`."""

    noun = "runs"

    @checked_call
    def create(self, new: NewRun, position: StreamPosition | None = None) -> Run:
        # With an id of its own, a run that is sent twice is created once.
        named = msgspec.structs.replace(new, run_id=new.run_id or new_id())
        return self._client.call(_CREATE, {"new": named, "position": position})  # type: ignore[no-any-return]
