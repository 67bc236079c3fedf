"""Requests for promotion with their reviews, comments and checks: rows and records.

Whoever changes one locks its model first, as with all of the registry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.checks import CheckResult
from jupyter_mlops.core.policy import CheckRule
from jupyter_mlops.core.promotion import (
    CheckStatus,
    Promotion,
    PromotionKind,
    PromotionState,
    Review,
    ReviewComment,
    ReviewVerdict,
    mentions,
)
from jupyter_mlops.core.records import Page
from jupyter_mlops.store import schema as registry_schema
from jupyter_mlops.store import schema_promotion as schema
from jupyter_mlops.store import tokens
from jupyter_mlops.store.policies import decoded, encoded
from jupyter_mlops.store.registry import Model
from jupyter_mlops.store.shares import Reach

_promotion = schema.promotion.c
_review = schema.promotion_review.c
_comment = schema.promotion_comment.c
_job = schema.check_job.c
_model = registry_schema.model.c


class _Place(msgspec.Struct, frozen=True):
    id: str


def insert(connection: Connection, model_id: str, new: Promotion, move_id: int | None = None) -> None:
    """Insert a request (or a rollback, or an override, with the move that it was)."""
    row = {
        "id": new.request_id,
        "model_id": model_id,
        "model": new.model,
        "kind": new.kind.value,
        "state": new.state.value,
        "alias": new.alias,
        "version": new.version,
        "digest": new.digest,
        "run_id": new.run_id,
        "safe": new.safe,
        "champion": new.champion,
        "champion_digest": new.champion_digest,
        "requester": new.requester,
        "asked_by": new.asked_by,
        "authors_json": msgspec.json.encode(new.authors).decode(),
        "reason": new.reason,
        "policy_json": encoded(new.policy),
        "policy_number": new.policy_number,
        "round": new.round,
        "created": new.created,
        "updated": new.updated,
        "expires": new.expires,
        "closed": new.closed,
        "closed_by": new.closed_by,
        "outcome": new.outcome,
        "move_id": move_id,
    }
    connection.execute(schema.promotion.insert(), row)


def model_of(connection: Connection, request_id: str) -> str | None:
    """The id of the model that a request is about."""
    return connection.execute(sa.select(_promotion.model_id).where(_promotion.id == request_id)).scalar()


def about(connection: Connection, request_id: str) -> tuple[str, str] | None:
    """The id and the name of the model that a request is about, be it deleted since."""
    query = sa.select(_promotion.model_id, _promotion.model).where(_promotion.id == request_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def models_of(connection: Connection, ids: Sequence[str]) -> dict[str, Model]:
    """The models that requests are about, by the ids of the requests; without those that are deleted."""
    query = (
        sa.select(_promotion.id, _model.id, _model.name, _model.owner, _model.restricted)
        .join(registry_schema.model, _promotion.model_id == _model.id)
        .where(_promotion.id.in_(ids))
    )
    return {row[0]: Model(*row[1:]) for row in connection.execute(query)}


def load(connection: Connection, ids: Sequence[str]) -> list[Promotion]:
    """The requests of ``ids``, in that order, complete except for what they lack."""
    reviews, comments, jobs = _reviews(connection, ids), _comments(connection, ids), checks(connection, ids)
    found = {
        row.id: _record(row, reviews[row.id], comments[row.id], jobs.get(row.id, ()))
        for row in connection.execute(sa.select(schema.promotion).where(_promotion.id.in_(ids)))
    }
    return [found[id] for id in ids if id in found]


def search(
    connection: Connection,
    reach: Reach | None,
    *,
    model: str | None,
    alias: str | None,
    state: PromotionState | None,
    requester: str | None,
    limit: int,
    page_token: str | None,
) -> Page[str]:
    """The ids of the requests for models within reach, newest first."""
    source = sa.join(schema.promotion, registry_schema.model, _promotion.model_id == _model.id)
    query = _within(sa.select(_promotion.id).select_from(source), reach)
    for column, wanted in (
        (_model.name, model),
        (_promotion.alias, alias),
        (_promotion.state, None if state is None else state.value),
        (_promotion.requester, requester),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    asked = msgspec.json.encode(["promotions", model, alias, state, requester]).decode()
    if page_token is not None:
        after = tokens.decode(asked, page_token, _Place)
        query = query.where(_promotion.id < after.id)
    ids = list(connection.execute(query.order_by(_promotion.id.desc()).limit(limit + 1)).scalars())
    more = len(ids) > limit
    return Page(
        items=tuple(ids[:limit]), next_page_token=tokens.encode(asked, _Place(ids[limit - 1])) if more else None
    )


def open_for(connection: Connection, owners: Sequence[str] | None, now: int, limit: int) -> list[str]:
    """The ids of the open requests for models of ``owners`` (None: of all) whose time is not over, newest first."""
    query = (
        sa.select(_promotion.id)
        .join(registry_schema.model, _promotion.model_id == _model.id)
        .where(_promotion.state == PromotionState.OPEN.value, _promotion.expires > now)
    )
    if owners is not None:
        query = query.where(_model.owner.in_(owners))
    return list(connection.execute(query.order_by(_promotion.id.desc()).limit(limit)).scalars())


def open_mentioning(connection: Connection, user: str, reach: Reach | None, now: int, limit: int) -> list[str]:
    """The ids of the open requests for models within reach with a comment that may mention ``user``, newest first."""
    said = sa.exists().where(
        _comment.promotion_id == _promotion.id, _comment.text.contains(f"@{user}", autoescape=True)
    )
    query = (
        sa.select(_promotion.id)
        .join(registry_schema.model, _promotion.model_id == _model.id)
        .where(_promotion.state == PromotionState.OPEN.value, _promotion.expires > now, said)
    )
    query = _within(query, reach)
    return list(connection.execute(query.order_by(_promotion.id.desc()).limit(limit)).scalars())


def _within(query: sa.Select[Any], reach: Reach | None) -> sa.Select[Any]:
    """``query``, of models within reach (of all when None)."""
    if reach is None:
        return query
    own = _model.owner.in_(reach.owners)
    return query.where(sa.or_(own, sa.not_(_model.restricted)) if reach.open_models else own)


def ids_of_version(connection: Connection, model_id: str, version: int) -> list[str]:
    """The ids of the requests for a version, oldest first."""
    query = sa.select(_promotion.id).where(_promotion.model_id == model_id, _promotion.version == version)
    return list(connection.execute(query.order_by(_promotion.created, _promotion.id)).scalars())


def open_ids(connection: Connection, model_id: str, alias: str | None = None) -> list[str]:
    """The open requests for a model, oldest first."""
    query = sa.select(_promotion.id).where(
        _promotion.model_id == model_id, _promotion.state == PromotionState.OPEN.value
    )
    if alias is not None:
        query = query.where(_promotion.alias == alias)
    return list(connection.execute(query.order_by(_promotion.id)).scalars())


def expired_models(connection: Connection, now: int) -> list[str]:
    """The ids of the models that have open requests which are over."""
    query = sa.select(_promotion.model_id).where(
        _promotion.state == PromotionState.OPEN.value, _promotion.expires <= now
    )
    return list(connection.execute(query.distinct()).scalars())


def latest(connection: Connection) -> int:
    """The latest time at which anything of a request was written; 0 when nothing ever was."""
    found: int | None = connection.execute(sa.select(sa.func.max(_promotion.updated))).scalar()
    return found or 0


def update(connection: Connection, request_id: str, now: int, **changes: Any) -> None:
    """Note that a request was changed, and change columns of it."""
    connection.execute(schema.promotion.update().where(_promotion.id == request_id).values(updated=now, **changes))


def close(
    connection: Connection,
    request_id: str,
    state: PromotionState,
    now: int,
    *,
    by: str | None,
    outcome: str,
    move_id: int | None = None,
) -> None:
    """Close an open request; jobs that nobody has done are not done any more, and their tokens are over."""
    changes = {"state": state.value, "closed": now, "closed_by": by, "outcome": outcome, "move_id": move_id}
    update(connection, request_id, now, **changes)
    cancel(connection, request_id)


def cancel(connection: Connection, request_id: str) -> None:
    """Let nobody do the jobs of a request that are not done."""
    connection.execute(
        schema.check_job.update()
        .where(_job.promotion_id == request_id, _job.state.in_(("queued", "claimed")))
        .values(state="cancelled", token_digest=None)
    )


def by_move(connection: Connection, model_id: str) -> dict[int, str]:
    """The ids of what moved the aliases of a model, by the numbers of the moves."""
    query = sa.select(_promotion.move_id, _promotion.id).where(
        _promotion.model_id == model_id, _promotion.move_id.is_not(None)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def rollbacks(connection: Connection, model_id: str, alias: str) -> set[int]:
    """The numbers of the moves of an alias that were rollbacks."""
    query = sa.select(_promotion.move_id).where(
        _promotion.model_id == model_id,
        _promotion.alias == alias,
        _promotion.kind == PromotionKind.ROLLBACK.value,
    )
    return set(connection.execute(query).scalars())


def add_review(connection: Connection, request_id: str, review: Review) -> None:
    row = {
        "promotion_id": request_id,
        "reviewer": review.user,
        "owners_json": msgspec.json.encode(review.owners).decode(),
        "verdict": review.verdict.value,
        "reason": review.reason,
        "at": review.at,
        "round": review.round,
    }
    connection.execute(schema.promotion_review.insert(), row)


def add_comment(connection: Connection, request_id: str, comment: ReviewComment) -> None:
    row = {"promotion_id": request_id, "created_by": comment.user, "text": comment.text, "at": comment.at}
    connection.execute(schema.promotion_comment.insert(), row)


# --- reading ---------------------------------------------------------------------------------------------------------


def checks(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[CheckStatus, ...]]:
    """The checks of requests, in the order in which they were asked for."""
    query = sa.select(schema.check_job).where(_job.promotion_id.in_(ids)).order_by(_job.round, _job.cost, _job.id)
    found: dict[str, list[CheckStatus]] = defaultdict(list)
    for row in connection.execute(query):
        status = CheckStatus(
            job_id=row.id,
            rule=CheckRule(name=row.name, settings=msgspec.json.decode(row.settings_json)),
            round=row.round,
            claimed_by=row.claimed_by,
            attempt=row.attempt,
            result=None if row.result_json is None else msgspec.json.decode(row.result_json, type=CheckResult),
        )
        found[row.promotion_id].append(status)
    return {id: tuple(statuses) for id, statuses in found.items()}


def _reviews(connection: Connection, ids: Sequence[str]) -> defaultdict[str, list[Review]]:
    query = sa.select(schema.promotion_review).where(_review.promotion_id.in_(ids)).order_by(_review.id)
    found: defaultdict[str, list[Review]] = defaultdict(list)
    for row in connection.execute(query):
        review = Review(
            user=row.reviewer,
            owners=msgspec.json.decode(row.owners_json, type=tuple[str, ...]),
            verdict=ReviewVerdict(row.verdict),
            reason=row.reason,
            at=row.at,
            round=row.round,
        )
        found[row.promotion_id].append(review)
    return found


def _comments(connection: Connection, ids: Sequence[str]) -> defaultdict[str, list[ReviewComment]]:
    query = sa.select(schema.promotion_comment).where(_comment.promotion_id.in_(ids)).order_by(_comment.id)
    found: defaultdict[str, list[ReviewComment]] = defaultdict(list)
    for row in connection.execute(query):
        comment = ReviewComment(user=row.created_by, text=row.text, mentions=mentions(row.text), at=row.at)
        found[row.promotion_id].append(comment)
    return found


def _record(
    row: Any, reviews: Iterable[Review], comments: Iterable[ReviewComment], jobs: Iterable[CheckStatus]
) -> Promotion:
    return Promotion(
        request_id=row.id,
        kind=PromotionKind(row.kind),
        state=PromotionState(row.state),
        model=row.model,
        alias=row.alias,
        version=row.version,
        digest=row.digest,
        run_id=row.run_id,
        safe=row.safe,
        champion=row.champion,
        champion_digest=row.champion_digest,
        requester=row.requester,
        asked_by=row.asked_by,
        authors=msgspec.json.decode(row.authors_json, type=tuple[str, ...]),
        reason=row.reason,
        policy=decoded(row.policy_json),
        policy_number=row.policy_number,
        round=row.round,
        created=row.created,
        updated=row.updated,
        expires=row.expires,
        closed=row.closed,
        closed_by=row.closed_by,
        outcome=row.outcome,
        reviews=tuple(reviews),
        comments=tuple(comments),
        checks=tuple(jobs),
    )
