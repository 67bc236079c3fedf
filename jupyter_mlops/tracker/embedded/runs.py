"""Runs: who may do what, then the store."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy.engine import Connection

from jupyter_mlops.core import values
from jupyter_mlops.core.access import Scope
from jupyter_mlops.core.arguments import checked
from jupyter_mlops.core.errors import Conflict, InvalidValue, NotFound
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import (
    Batch,
    Comment,
    Lifecycle,
    MetricPoint,
    NewRun,
    Page,
    Run,
    RunChange,
    StreamPosition,
    View,
)
from jupyter_mlops.core.run_fields import check_position
from jupyter_mlops.store import events, experiments, histories, runs, streams
from jupyter_mlops.store.calls import RunCall
from jupyter_mlops.store.runs import Facts
from jupyter_mlops.tracker.embedded._context import Context, run_changed
from jupyter_mlops.tracker.embedded.runcalls import RunCalls
from jupyter_mlops.tracker.protocol import DEFAULT_PAGE, LARGEST_PAGE

SHORTEST_PREFIX = 4


@checked
class EmbeddedRuns:
    """See :class:`jupyter_mlops.tracker.protocol.Runs`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls = RunCalls(context)

    # --- writing ---

    def create(self, new: NewRun, position: StreamPosition | None = None) -> Run:
        return self._written(self._calls.create(new, position))

    def log(self, run_id: str, batch: Batch, position: StreamPosition | None = None) -> None:
        self._context.writer.submit(self._calls.log(run_id, batch, position))

    def change(self, run_id: str, change: RunChange, position: StreamPosition | None = None) -> Run:
        return self._written(self._calls.change(run_id, change, position))

    def log_and_change(
        self, run_id: str, batch: Batch, change: RunChange, position: StreamPosition | None = None
    ) -> Run:
        """See :class:`jupyter_mlops.tracker.protocol.LogsAndChanges`."""
        return self._written(self._calls.log_and_change(run_id, batch, change, position))

    def heartbeat(self, run_id: str) -> None:
        self._context.writer.submit(self._calls.heartbeat(run_id))

    def _written(self, call: RunCall) -> Run:
        self._context.writer.submit(call)
        return self.get(call.run_id) if call.run is None else call.run

    def delete_tag(self, run_id: str, key: str) -> None:
        values.check_key(key, "tag")
        with self._context.write() as connection:
            run = self._active(connection, run_id)
            if not runs.delete_tag(connection, run_id, key):
                raise NotFound(f"run {run_id} has no tag {values.short(key)}")
            self._tell(connection, run_id, run)

    def delete(self, run_id: str) -> None:
        with self._context.write() as connection:
            run = self._context.run_owned(connection, run_id)
            if run.lifecycle is Lifecycle.ACTIVE:
                below = runs.delete(connection, run_id, self._context.writable_owners, self._context.clock())
                self._note(connection, "run.delete", run_id, run)
                experiments.tell_of_runs(connection, below, self._context.clock())

    def restore(self, run_id: str) -> None:
        with self._context.write() as connection:
            run = self._context.run_owned(connection, run_id)
            if run.lifecycle is Lifecycle.DELETED:
                if runs.in_deleted_experiment(connection, run_id):
                    raise Conflict(f"run {run_id} was deleted with its experiment: restore the experiment")
                below = runs.restore(connection, run_id, self._context.writable_owners)
                self._note(connection, "run.restore", run_id, run)
                experiments.tell_of_runs(connection, below, self._context.clock())

    def comment(self, run_id: str, text: str) -> Comment:
        values.comment_text(text)
        with self._context.write() as connection:
            run = self._active(connection, run_id)
            now = self._context.clock()
            comment = runs.add_comment(connection, run_id, self._context.principal.name, text, now)
            self._tell(connection, run_id, run)
        return comment

    # --- reading ---

    def get(self, run_id: str) -> Run:
        with self._context.read() as connection:
            self._allowed(connection, run_id, Scope.READ)
            return runs.load(connection, [run_id])[0]

    def resolve(self, text: str, *, experiment_id: str | None = None) -> Run:
        if is_id(text):
            run = self.get(text)
            if experiment_id is None or run.experiment_id == experiment_id:
                return run
            raise NotFound(f"run {text} is not in experiment {values.short(experiment_id)}")
        values.run_name(text)
        prefix = re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},31}}", text) is not None
        with self._context.read() as connection:
            ids = runs.candidates(connection, text, self._context.reach, experiment_id, prefix=prefix)
            found = runs.load(connection, ids)
        if not found:
            hint = "" if prefix else f"; an id can be shortened to its first digits, {SHORTEST_PREFIX} at least"
            raise NotFound(f"no run is called {values.short(text)}, and no id begins like that{hint}")
        if len(found) > 1:
            listed = ", ".join(f"{run.run_id} ({run.name})" for run in found[:10])
            more = ", ..." if len(found) > 10 else ""
            raise InvalidValue(f"{values.short(text)} may be any of {listed}{more}: write more of the id")
        return found[0]

    def search(
        self,
        experiment_ids: Sequence[str] = (),
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        view: View = View.ACTIVE,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[Run]:
        # The grammar and its SQL, which those who only record never need.
        from jupyter_mlops.core.filters import Entity, parse_filter, parse_order_by
        from jupyter_mlops.store import search

        query = search.Query(
            parse_filter(filter, Entity.RUN), parse_order_by(order_by, Entity.RUN), view, limit, page_token
        )
        with self._context.read() as connection:
            page = search.run_ids(connection, query, experiment_ids, self._context.reach)
            found = runs.load(connection, page.items)
        return Page(items=tuple(found), next_page_token=page.next_page_token)

    def history(
        self, run_id: str, key: str, *, limit: int = LARGEST_PAGE, page_token: str | None = None
    ) -> Page[MetricPoint]:
        with self._context.read() as connection:
            self._allowed(connection, run_id, Scope.READ)
            values.check_key(key, "metric")
            return histories.page(connection, run_id, key, limit, page_token)

    def sampled(
        self, run_id: str, key: str, width: int, *, first: int | None = None, last: int | None = None
    ) -> tuple[MetricPoint, ...]:
        with self._context.read() as connection:
            self._allowed(connection, run_id, Scope.READ)
            values.check_key(key, "metric")
            return histories.sampled(connection, run_id, key, width, first, last)

    def watermark(self, stream: str) -> int:
        check_position(StreamPosition(stream, 1))
        with self._context.read() as connection:
            return streams.watermark(connection, stream, self._context.stream_user)

    def comments(self, run_id: str) -> tuple[Comment, ...]:
        with self._context.read() as connection:
            self._allowed(connection, run_id, Scope.READ)
            return runs.comments(connection, run_id)

    def active(self) -> tuple[Run, ...]:
        with self._context.read() as connection:
            ids = runs.active_ids(connection, self._context.principal.name, self._context.reach)
            return tuple(runs.load(connection, ids))

    def children(self, run_id: str) -> tuple[Run, ...]:
        with self._context.read() as connection:
            self._allowed(connection, run_id, Scope.READ)
            return tuple(runs.load(connection, runs.child_ids(connection, run_id, self._context.reach)))

    # --- rules ---

    def _allowed(self, connection: Connection, run_id: str, scope: Scope) -> Facts:
        return self._context.run_allowed(connection, run_id, scope)

    def _active(self, connection: Connection, run_id: str) -> Facts:
        """What is to be known of a run that may be written to."""
        run = self._allowed(connection, run_id, Scope.WRITE)
        if run.lifecycle is Lifecycle.DELETED:
            raise Conflict(f"run {run_id} is deleted: restore it first")
        return run

    def _tell(self, connection: Connection, run_id: str, run: Facts) -> None:
        events.add_events(connection, run_changed(run_id, run, self._context.clock()))

    def _note(self, connection: Connection, action: str, run_id: str, run: Facts) -> None:
        self._tell(connection, run_id, run)
        events.add_audit(connection, self._context.principal.name, action, run_id, self._context.clock())
