"""Webhooks and what they are to be told: rows and records.

A message is written in the transaction of what it tells, so that none is lost. Its attempts are claimed by
compare-and-swap, so that of several replicas one sends it; who claims and dies is followed when the claim has run out.
Of one webhook and one model only the oldest message that waits may be claimed, which keeps them in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Json
from jupyter_mlops.core.webhooks import Delivery, DeliveryState, Message, Template, Webhook, shown_url, wants
from jupyter_mlops.store import consumers, events, schema, schema_telling
from jupyter_mlops.store.events import Event
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.registry import Model

KEPT_MS = 30 * 24 * 3600 * 1000
"""How long what became of a message is to be seen."""
MOST_CONSUMERS = 100

_hook = schema_telling.webhook.c
_delivery = schema_telling.webhook_delivery.c
_DELIVERIES = schema_telling.webhook_delivery
_WAITING = DeliveryState.WAITING.value


class Claimed(msgspec.Struct, frozen=True):
    """A message that is this process's to send, until the claim runs out."""

    number: int
    claim: str
    attempts: int
    """With this one."""
    url: str
    secret: str
    template: Template
    message: Message


def announce(
    connection: Connection, model: Model, kind: str, at: int, user: str, detail: Mapping[str, Json] | None = None
) -> None:
    """Tell what happened to a model: live views, and the webhooks of its owner. The model is locked."""
    told = dict(detail) if detail else None
    events.add_events(connection, Event(kind, model.owner, model.name, at, told, restricted=model.restricted))
    asking = [hook for hook, _ in _asking(connection, kind, [model.owner], model.id)]
    if not asking:
        return
    data: dict[str, Json] = dict(detail or {})
    alias = data.get("alias")
    if isinstance(alias, str):
        # Who uses a model is its owner's to know: live views are for all who may read.
        users: list[Json] = list(consumers.of_alias(connection, model.id, alias, MOST_CONSUMERS))
        data["consumers"] = users
    connection.execute(sa.insert(_DELIVERIES), [_message(hook, model, kind, at, user, data) for hook in asking])


def tell_persons(
    connection: Connection,
    model: Model,
    kind: str,
    at: int,
    user: str,
    detail: Mapping[str, Json],
    whom: Sequence[str],
) -> None:
    """Tell each of some persons what concerns them: in live views, which show it to them only, and by webhooks of their
    own. The model is locked.

    Who of them belongs to a group is known when a live view asks, and not here; so what is restricted to a group goes
    to nobody's webhook.
    """
    events.add_events(
        connection,
        *(
            Event(
                *(kind, model.owner, model.name, at, {**detail, "user": user, "for": person}),
                restricted=model.restricted,
            )
            for person in whom
        ),
    )
    if not model.restricted:
        hooks = _asking(connection, kind, whom, None)
        rows = [_message(hook, model, kind, at, user, {**detail, "for": person}) for hook, person in hooks]
        if rows:
            connection.execute(sa.insert(_DELIVERIES), rows)


def _asking(connection: Connection, kind: str, owners: Sequence[str], model_id: str | None) -> list[tuple[str, str]]:
    """The ids and owners of the webhooks that want a kind of event: those about everything, and about one model."""
    query = sa.select(_hook.id, _hook.owner, _hook.events_json).where(
        among(_hook.owner, "owners", owners), sa.or_(_hook.model_id.is_(None), _hook.model_id == model_id)
    )
    return [
        (row[0], row[1])
        for row in connection.execute(query)
        if wants(msgspec.json.decode(row[2], type=tuple[str, ...]), kind)
    ]


def _message(hook: str, model: Model, kind: str, at: int, user: str, data: Mapping[str, Json]) -> Mapping[str, Any]:
    id = f"msg_{new_id()}"
    message = Message(id=id, type=kind, model=model.name, owner=model.owner, timestamp=at, user=user, data=data)
    return {
        "webhook_id": hook,
        "model_id": model.id,
        "message_id": id,
        "kind": kind,
        "message_json": msgspec.json.encode(message).decode(),
        "state": _WAITING,
        "attempts": 0,
        "created": at,
        "next_attempt": at,
        "error": "",
    }


# --- webhooks --------------------------------------------------------------------------------------------------------


def insert(connection: Connection, new: Webhook, model_id: str | None) -> None:
    row = {
        "id": new.webhook_id,
        "owner": new.owner,
        "model_id": model_id,
        "url": new.url,
        "secret": new.secret,
        "events_json": msgspec.json.encode(new.events).decode(),
        "template": new.template.value,
        "created_by": new.user,
        "created": new.created,
    }
    connection.execute(sa.insert(schema_telling.webhook), row)


def load(connection: Connection, owners: Sequence[str] | None, webhook_id: str | None = None) -> tuple[Webhook, ...]:
    """The webhooks of ``owners`` (None: of all), oldest first, without their secrets; the one of an id when given."""
    query = sa.select(schema_telling.webhook, schema.model.c.name.label("model")).outerjoin(
        schema.model, schema.model.c.id == _hook.model_id
    )
    values: dict[str, Any] = {}
    if owners is not None:
        query = query.where(among(_hook.owner, "owners", owners))
    if webhook_id is not None:
        query = query.where(_hook.id == webhook_id)
    return tuple(
        Webhook(
            webhook_id=row.id,
            owner=row.owner,
            model=row.model if row.model_id is None or row.model is not None else "(deleted)",
            url=shown_url(row.url),
            events=msgspec.json.decode(row.events_json, type=tuple[str, ...]),
            template=Template(row.template),
            user=row.created_by,
            created=row.created,
        )
        for row in connection.execute(query.order_by(_hook.created, _hook.id), values)
    )


def delete(connection: Connection, webhook_id: str) -> None:
    """Delete a webhook with what it was to be told."""
    connection.execute(schema_telling.webhook.delete().where(_hook.id == webhook_id))


# --- deliveries ------------------------------------------------------------------------------------------------------


def deliveries(connection: Connection, webhook_id: str, limit: int) -> tuple[Delivery, ...]:
    """What a webhook was and is to be told, newest first."""
    query = sa.select(_DELIVERIES).where(_delivery.webhook_id == webhook_id)
    rows = connection.execute(query.order_by(_delivery.number.desc()).limit(limit))
    return tuple(
        Delivery(
            number=row.number,
            webhook_id=row.webhook_id,
            message_id=row.message_id,
            kind=row.kind,
            model=msgspec.json.decode(row.message_json, type=Message).model,
            state=DeliveryState(row.state),
            attempts=row.attempts,
            created=row.created,
            next_attempt=row.next_attempt if row.state == _WAITING else None,
            ended=row.ended,
            status=row.status,
            error=row.error,
        )
        for row in rows
    )


def due(connection: Connection, now: int, limit: int) -> list[int]:
    """The numbers of messages that may be claimed, those first that wait longest."""
    heads = (
        sa.select(sa.func.min(_delivery.number))
        .where(_delivery.state == _WAITING)
        .group_by(_delivery.webhook_id, _delivery.model_id)
    )
    query = sa.select(_delivery.number).where(_delivery.number.in_(heads), _delivery.next_attempt <= now)
    return list(connection.execute(query.order_by(_delivery.next_attempt, _delivery.number).limit(limit)).scalars())


def claim(connection: Connection, numbers: Sequence[int], now: int, until: int) -> list[Claimed]:
    """Claim what of ``numbers`` nobody else has claimed meanwhile."""
    token = new_id()
    claimed = []
    for number in numbers:
        swap = (
            sa.update(_DELIVERIES)
            .where(_delivery.number == number, _delivery.state == _WAITING, _delivery.next_attempt <= now)
            .values(claim=token, next_attempt=until, attempts=_delivery.attempts + 1)
            .returning(_delivery.attempts, _delivery.message_json, _delivery.webhook_id)
        )
        row = connection.execute(swap).one_or_none()
        if row is None:
            continue
        hook = connection.execute(
            sa.select(_hook.url, _hook.secret, _hook.template).where(_hook.id == row.webhook_id)
        ).one()
        message = msgspec.json.decode(row.message_json, type=Message)
        claimed.append(Claimed(number, token, row.attempts, hook.url, hook.secret, Template(hook.template), message))
    return claimed


def settle(
    connection: Connection,
    done: Claimed,
    state: DeliveryState,
    *,
    at: int,
    next_attempt: int,
    status: int | None,
    error: str,
) -> bool:
    """Note what became of an attempt; False, and nothing is written, when the claim had run out and another took it."""
    statement = (
        sa.update(_DELIVERIES)
        .where(_delivery.number == done.number, _delivery.claim == done.claim, _delivery.state == _WAITING)
        .values(
            state=state.value,
            claim=None,
            next_attempt=next_attempt,
            ended=None if state is DeliveryState.WAITING else at,
            status=status,
            error=error,
        )
    )
    return connection.execute(statement).rowcount > 0


def trim(connection: Connection, now: int) -> None:
    """Remove messages that ended longer ago than :data:`KEPT_MS`."""
    connection.execute(_DELIVERIES.delete().where(_delivery.state != _WAITING, _delivery.ended < now - KEPT_MS))
