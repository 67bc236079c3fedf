"""The queue of checks. A worker has a job as long as it renews its lease; then it is anybody's to claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.checks import CheckJob, CheckResult, cost
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import CheckRule
from jupyter_mlops.store import schema as registry_schema
from jupyter_mlops.store import schema_promotion as schema

_job = schema.check_job.c
_promotion = schema.promotion.c
_model = registry_schema.model.c
LOOKED_AT = 50
"""How many jobs that could be claimed are looked at, at most, for one that the caller may have."""


class Claimable(msgspec.Struct, frozen=True):
    """A job that nobody has, and whose model it is about."""

    job: CheckJob
    owner: str


def enqueue(connection: Connection, request_id: str, round: int, rules: Iterable[CheckRule]) -> None:
    """Ask for checks, to be done cheapest first."""
    rows = [
        {
            "id": new_id(),
            "promotion_id": request_id,
            "name": rule.name,
            "settings_json": msgspec.json.encode(rule.settings).decode(),
            "cost": cost(rule.name),
            "round": round,
            "state": "queued",
            "attempt": 0,
            "lease_until": 0,
        }
        for rule in rules
    ]
    if rows:
        connection.execute(schema.check_job.insert(), rows)


def add_reported(connection: Connection, request_id: str, round: int, result: CheckResult) -> str:
    """Keep what somebody reported of their own accord; gives the id that it is kept under."""
    job_id = new_id()
    row = {
        "id": job_id,
        "promotion_id": request_id,
        "name": result.name,
        "settings_json": "{}",
        "cost": cost(result.name),
        "round": round,
        "state": "reported",
        "attempt": 0,
        "lease_until": 0,
        "result_json": msgspec.json.encode(result).decode(),
    }
    connection.execute(schema.check_job.insert(), row)
    return job_id


def claimable(connection: Connection, names: Sequence[str], now: int) -> list[Claimable]:
    """The first jobs that nobody has, cheapest first; of checks called so, where names are given."""
    source = sa.join(schema.check_job, schema.promotion, _job.promotion_id == _promotion.id)
    source = sa.join(source, registry_schema.model, _promotion.model_id == _model.id)
    free = sa.or_(_job.state == "queued", sa.and_(_job.state == "claimed", _job.lease_until <= now))
    query = (
        sa.select(
            *(_job.id, _job.name, _job.settings_json, _job.attempt, _promotion.id.label("request_id")),
            *(_promotion.alias, _promotion.version, _promotion.champion, _model.name.label("model"), _model.owner),
        )
        .select_from(source)
        .where(free, _promotion.state == "open", _promotion.expires > now)
    )
    if names:
        query = query.where(_job.name.in_(names))
    rows = connection.execute(query.order_by(_job.cost, _job.id).limit(LOOKED_AT))
    return [
        Claimable(
            CheckJob(
                job_id=row.id,
                request_id=row.request_id,
                model=row.model,
                version=row.version,
                alias=row.alias,
                champion=row.champion,
                name=row.name,
                settings=msgspec.json.decode(row.settings_json),
                attempt=row.attempt + 1,
            ),
            row.owner,
        )
        for row in rows
    ]


def claim(connection: Connection, job: CheckJob, now: int, lease_until: int, *, by: str) -> bool:
    """Take a job by its ``claim``, a new one, if nobody has taken it meanwhile."""
    # Who comes at the same time has counted the attempts, too, and finds one more.
    statement = (
        schema.check_job.update()
        .where(_job.id == job.job_id, _job.attempt == job.attempt - 1)
        .where(sa.or_(_job.state == "queued", sa.and_(_job.state == "claimed", _job.lease_until <= now)))
        .values(
            state="claimed",
            attempt=job.attempt,
            lease_until=lease_until,
            claimed_by=by,
            token_digest=job.claim,
        )
    )
    return connection.execute(statement).rowcount > 0


def renew(connection: Connection, job_id: str, claim: str, lease_until: int) -> bool:
    """Keep a job; False when it is not the worker's any more who has that ``claim``."""
    statement = schema.check_job.update().where(_job.id == job_id, _job.token_digest == claim, _job.state == "claimed")
    return connection.execute(statement.values(lease_until=lease_until)).rowcount > 0


def finish(connection: Connection, job_id: str, claim: str, result: CheckResult) -> bool:
    """Keep what a worker found out; False when the job is not the worker's any more who has that ``claim``."""
    statement = schema.check_job.update().where(_job.id == job_id, _job.token_digest == claim, _job.state == "claimed")
    done = statement.values(
        state="done", token_digest=None, lease_until=0, result_json=msgspec.json.encode(result).decode()
    )
    return connection.execute(done).rowcount > 0


class Held(msgspec.Struct, frozen=True):
    job_id: str
    request_id: str
    name: str


def find(connection: Connection, job_id: str) -> Held | None:
    """What is to be known of a job."""
    query = sa.select(_job.id, _job.promotion_id, _job.name).where(_job.id == job_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Held(*row)


def holder_of(connection: Connection, token_digest: str, now: int) -> tuple[str, str] | None:
    """The id of the job that a token stands for, and whose the model is; None when it is over."""
    source = sa.join(schema.check_job, schema.promotion, _job.promotion_id == _promotion.id)
    source = sa.join(source, registry_schema.model, _promotion.model_id == _model.id)
    query = (
        sa.select(_job.id, _model.owner)
        .select_from(source)
        .where(_job.token_digest == token_digest, _job.state == "claimed", _job.lease_until > now)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])
