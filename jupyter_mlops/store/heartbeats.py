"""Heartbeats: a run whose runner is silent for too long is ended, and goes on when the runner is heard again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.records import Lifecycle, Reason, ReasonKind, RunStatus
from jupyter_mlops.store import events, schema
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.parameters import among

_run = schema.run.c
_OPEN = [status.value for status in RunStatus if not status.ended]
_NOT_FAILED = [status.value for status in RunStatus if status is not RunStatus.FAILED]
_LOST = msgspec.json.encode(
    Reason(kind=ReasonKind.RUNNER_LOST, message="the runner of this run, on another machine, is silent")
).decode()

_BEAT = sa.update(schema.run).where(_run.id == sa.bindparam("run_id")).values(heartbeat=sa.bindparam("now"))
_REOPEN = (
    sa.update(schema.run)
    # None of the others, and not failed: for that, SQLite would look through all that have failed.
    .where(among(_run.id, "run_ids"), _run.status.not_in(_NOT_FAILED), _run.reason_json == _LOST)
    .values(status=RunStatus.RUNNING.value, end_time=None, reason_json=None)
    .returning(_run.id, _run.experiment_id)
)
_END_SILENT = (
    sa.update(schema.run)
    .where(
        _run.status.in_(_OPEN),
        # Not deleted, and not active: for that, SQLite would look through all that are active.
        _run.lifecycle != Lifecycle.DELETED.value,
        # Others have nothing that could beat: a run made by a program through the API.
        _run.runner_json.is_not(None),
        _run.heartbeat < sa.bindparam("cutoff"),
    )
    .values(status=RunStatus.FAILED.value, end_time=_run.heartbeat, reason_json=_LOST)
    .returning(_run.id, _run.experiment_id)
)
_OWNERS = sa.select(schema.experiment.c.id, schema.experiment.c.owner).where(among(schema.experiment.c.id, "ids"))


def beat(connection: Connection, run_ids: Collection[str], now: int) -> None:
    """Note that the runners live; what :func:`end_silent` ended goes on."""
    connection.execute(_BEAT, [{"run_id": run_id, "now": now} for run_id in sorted(run_ids)])
    reopened = connection.execute(_REOPEN, {"run_ids": sorted(run_ids)}).all()
    _tell(connection, "run.reopen", [(row[0], row[1]) for row in reopened], now)


def end_silent(connection: Connection, cutoff: int, now: int) -> list[str]:
    """End the open runs whose runner was last heard before ``cutoff``, then; gives their ids."""
    ended = [(row[0], row[1]) for row in connection.execute(_END_SILENT, {"cutoff": cutoff})]
    _tell(connection, "run.lost", ended, now)
    return [run_id for run_id, _ in ended]


def _tell(connection: Connection, action: str, changed: Sequence[tuple[str, str]], now: int) -> None:
    """Tell who watches, and put on record, what became of runs, given with their experiments."""
    if not changed:
        return
    rows = connection.execute(_OWNERS, {"ids": sorted({experiment_id for _, experiment_id in changed})})
    owners = {row[0]: row[1] for row in rows}
    told = [Event("run.changed", owners[each], run_id, now, experiment_id=each) for run_id, each in changed]
    events.add_events(connection, *told)
    events.add_audits(connection, "heartbeat", action, now, {run_id: None for run_id, _ in changed})
