"""Policies: an append-only history, of which the last entry of a model or a group is in force."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.policy import Policy, PolicySource, PolicyVersion, default_for
from jupyter_mlops.store import schema_promotion as schema
from jupyter_mlops.store.registry import Model

_policy = schema.policy.c
_decode = msgspec.json.Decoder(Policy).decode


def in_force(connection: Connection, model: Model) -> PolicyVersion:
    """The policy of a model: its own, else that of its group, else the default."""
    return in_force_of(connection, [model])[model.id]


def in_force_of(connection: Connection, models: Sequence[Model]) -> dict[str, PolicyVersion]:
    """The policies of models, by their ids."""
    ids, owners = [model.id for model in models], list({model.owner for model in models})
    newest = sa.func.max(_policy.number)
    last = sa.union_all(
        sa.select(newest).where(_policy.model_id.in_(ids)).group_by(_policy.model_id),
        sa.select(newest).where(_policy.owner.in_(owners)).group_by(_policy.owner),
    )
    own: dict[str, PolicyVersion] = {}
    groups: dict[str, PolicyVersion] = {}
    for row in connection.execute(sa.select(schema.policy).where(_policy.number.in_(last))):
        found = _record(row)
        if found.policy is None:
            continue
        if row.model_id is not None:
            own[row.model_id] = found
        elif found.owner is not None:
            groups[found.owner] = found
    return {
        model.id: msgspec.structs.replace(own[model.id], model=model.name)
        if model.id in own
        else groups.get(model.owner) or _default(model.owner)
        for model in models
    }


def in_force_for(connection: Connection, owner: str) -> PolicyVersion:
    """The policy of the models of ``owner`` that have none of their own."""
    found = _last(connection, _policy.owner == owner)
    return found if found is not None and found.policy is not None else _default(owner)


def history(connection: Connection, *, model: Model | None = None, owner: str | None = None) -> list[PolicyVersion]:
    """What was set for a model, or for a group, oldest first."""
    of = _policy.owner == owner if model is None else _policy.model_id == model.id
    return [_record(row) for row in connection.execute(sa.select(schema.policy).where(of).order_by(_policy.number))]


def append(connection: Connection, new: PolicyVersion, model: Model | None) -> PolicyVersion:
    """Put a policy into force, or take one back; gives it with its number."""
    row = {
        "model_id": None if model is None else model.id,
        "model": new.model,
        "owner": new.owner,
        "policy_json": None if new.policy is None else encoded(new.policy),
        "set_by": new.user,
        "at": new.at,
        "reason": new.reason,
    }
    insert = schema.policy.insert().returning(_policy.number)
    return msgspec.structs.replace(new, number=connection.execute(insert, row).scalar_one())


def encoded(policy: Policy) -> str:
    """The policy as JSON text, with all fields: a later version may have other defaults."""
    return msgspec.json.encode(msgspec.structs.asdict(policy)).decode()


def decoded(text: str) -> Policy:
    return _decode(text)


def _default(owner: str) -> PolicyVersion:
    default = default_for(owner)
    source = PolicySource.DEFAULT if default.protected else PolicySource.NONE
    return PolicyVersion(owner=owner, source=source, policy=default)


def _last(connection: Connection, of: sa.ColumnElement[bool]) -> PolicyVersion | None:
    query = sa.select(schema.policy).where(of).order_by(_policy.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


def _record(row: sa.Row[tuple[object, ...]]) -> PolicyVersion:
    found = row._mapping
    return PolicyVersion(
        number=found["number"],
        model=found["model"],
        owner=found["owner"],
        source=PolicySource.GROUP if found["model_id"] is None else PolicySource.MODEL,
        policy=None if found["policy_json"] is None else decoded(found["policy_json"]),
        user=found["set_by"],
        at=found["at"],
        reason=found["reason"],
    )
