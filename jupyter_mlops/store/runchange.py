"""What a change does to the row of its run: one statement, executed with the values of many changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from jupyter_mlops.core.records import RunStatus
from jupyter_mlops.store import schema

_run = schema.run.c
_ENDED = [status.value for status in RunStatus if status.ended]
_UNSUCCESSFUL = [RunStatus.FAILED.value, RunStatus.KILLED.value]


def _given(name: str, column: sa.Column[Any]) -> Any:
    return sa.func.coalesce(sa.bindparam(f"new_{name}", type_=column.type), column)


def _one_of(column: sa.ColumnElement[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """``IN`` for a statement of many rows, which cannot have one."""
    return sa.or_(*(column == value for value in values))


def _change_statement() -> sa.Update:
    status = sa.bindparam("new_status", type_=sa.Text)
    end = sa.bindparam("new_end_time", type_=sa.BigInteger)
    reason = sa.bindparam("new_reason", type_=sa.Text)
    runner = sa.bindparam("new_runner", type_=sa.Text)
    now = sa.bindparam("now", type_=sa.BigInteger)
    return (
        sa.update(schema.run)
        .where(_run.id == sa.bindparam("run_id"))
        .values(
            name=_given("name", _run.name),
            status=_given("status", _run.status),
            # What ended before keeps its time when the same end is told again.
            end_time=sa.case(
                (end.is_not(None), end),
                (status.is_(None), _run.end_time),
                (sa.not_(_one_of(status, _ENDED)), None),
                (_one_of(_run.status, _ENDED), sa.func.coalesce(_run.end_time, now)),
                else_=now,
            ),
            reason_json=sa.case(
                (reason.is_not(None), reason),
                (sa.or_(status.is_(None), _one_of(status, _UNSUCCESSFUL)), _run.reason_json),
                else_=None,
            ),
            hidden_state=_given("hidden_state", _run.hidden_state),
            progress_done=_given("progress_done", _run.progress_done),
            progress_total=_given("progress_total", _run.progress_total),
            progress_failed=_given("progress_failed", _run.progress_failed),
            runner_json=sa.func.coalesce(runner, _run.runner_json),
            # A runner that begins is heard, however long its run has waited for it.
            heartbeat=sa.case((runner.is_not(None), now), else_=_run.heartbeat),
        )
    )


CHANGE = _change_statement()
"""Takes ``run_id``, ``now``, and each field as ``new_...``, None where it stays as it is."""
