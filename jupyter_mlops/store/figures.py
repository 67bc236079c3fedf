"""What a whole store is doing and holds, in numbers for those who watch it."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.records import Lifecycle, RunStatus
from jupyter_mlops.core.webhooks import DeliveryState
from jupyter_mlops.store import schema, schema_promotion, schema_telling, usage

_run = schema.run.c
_job = schema_promotion.check_job.c
_delivery = schema_telling.webhook_delivery.c

ACTIVE = (RunStatus.SCHEDULED, RunStatus.RUNNING)


class Figures(msgspec.Struct, frozen=True):
    """Counts, each by a few rows."""

    runs: dict[str, int]
    """Active runs, by their status."""
    checks: dict[str, int]
    """Checks that are not done, by their state: ``queued`` or ``claimed``."""
    messages: dict[str, int]
    """Messages to webhooks, by what became of them: ``waiting``, or ``failed`` in the last 30 days."""
    stored: dict[str, int]
    """Bytes of files, by their owner."""


def figures(connection: Connection) -> Figures:
    """What is going on."""
    runs = (
        sa.select(_run.status, sa.func.count())
        .where(_run.status.in_([status.value for status in ACTIVE]), _run.lifecycle == Lifecycle.ACTIVE.value)
        .group_by(_run.status)
    )
    checks = sa.select(_job.state, sa.func.count()).where(_job.state.in_(["queued", "claimed"])).group_by(_job.state)
    told = [DeliveryState.WAITING.value, DeliveryState.FAILED.value]
    messages = sa.select(_delivery.state, sa.func.count()).where(_delivery.state.in_(told)).group_by(_delivery.state)
    return Figures(
        runs={status.value: 0 for status in ACTIVE} | _counts(connection, runs),
        checks={"queued": 0, "claimed": 0} | _counts(connection, checks),
        messages=dict.fromkeys(told, 0) | _counts(connection, messages),
        stored={owner: held.bytes for owner, held in usage.of_owners(connection).items()},
    )


def _counts(connection: Connection, query: sa.Select[Any]) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in connection.execute(query)}
