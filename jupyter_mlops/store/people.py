"""What names an owner, table by table, and how it comes to name another. Locks what it is about to change."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.promotion import PromotionState
from jupyter_mlops.store import consumers, schema, schema_promotion, schema_telling
from jupyter_mlops.store.policies import decoded
from jupyter_mlops.store.registry import Model
from jupyter_mlops.store.schema_limits import owner_rule

_experiment = schema.experiment.c
_run = schema.run.c
_model = schema.model.c
_share = schema.experiment_share.c
_policy = schema_promotion.policy.c
_promotion = schema_promotion.promotion.c
_hook = schema_telling.webhook.c

# Where a user is named for what they did, besides loads; `audit`, moves, policies, requests and reviews are permanent.
_DOERS = (
    schema.run.c.created_by,
    schema.run.c.submitted_by,
    schema.run_comment.c.created_by,
    schema.model_version.c.created_by,
    schema.experiment_share.c.created_by,
    schema.stream.c.created_by,
    schema_telling.webhook.c.created_by,
    schema_telling.model_card.c.edited_by,
    owner_rule.c.set_by,
)


class Named(msgspec.Struct, frozen=True):
    """An experiment of an owner."""

    experiment_id: str
    name: str


class PolicyInForce(msgspec.Struct, frozen=True):
    """The last policy of a model, or of a group."""

    model_id: str | None
    owner: str | None
    policy: Policy


def experiments_of(connection: Connection, owner: str) -> list[Named]:
    """The experiments of an owner, deleted ones too; they stay theirs until the end of the transaction."""
    query = sa.select(_experiment.id, _experiment.name).where(_experiment.owner == owner).order_by(_experiment.id)
    return [Named(row[0], row[1]) for row in connection.execute(query.with_for_update())]


def names_of(connection: Connection, owner: str) -> set[str]:
    """The names of the experiments of an owner."""
    return set(connection.execute(sa.select(_experiment.name).where(_experiment.owner == owner)).scalars())


def count_runs(connection: Connection, owner: str) -> int:
    """How many runs the experiments of an owner have."""
    query = (
        sa.select(sa.func.count()).select_from(schema.run).join(schema.experiment, _experiment.id == _run.experiment_id)
    )
    return int(connection.execute(query.where(_experiment.owner == owner)).scalar_one())


def hand_over(connection: Connection, experiments: Sequence[Named], to: str, now: int) -> None:
    """Make experiments the things of ``to``, with the names that they have there."""
    if not experiments:
        return
    statement = (
        sa.update(schema.experiment)
        .where(_experiment.id == sa.bindparam("key"))
        .values(owner=to, name=sa.bindparam("new_name"), updated=now)
    )
    connection.execute(statement, [{"key": each.experiment_id, "new_name": each.name} for each in experiments])


def models_of(connection: Connection, owner: str) -> list[str]:
    """The ids of the models of an owner."""
    return list(connection.execute(sa.select(_model.id).where(_model.owner == owner)).scalars())


def lock_models(connection: Connection, ids: set[str]) -> dict[str, Model]:
    """Models by their ids, as they are until the end of the transaction; without those that do not exist."""
    query = sa.select(_model.id, _model.name, _model.owner, _model.restricted).where(_model.id.in_(ids))
    return {row[0]: Model(*row) for row in connection.execute(query.order_by(_model.id).with_for_update())}


def delete_shares(connection: Connection, grantee: str) -> int:
    """End the shares with a grantee; gives how many."""
    return connection.execute(schema.experiment_share.delete().where(_share.grantee == grantee)).rowcount


def move_shares(connection: Connection, grantee: str, to: str) -> int:
    """Have shares name another grantee; one that the other has already keeps its role, the wider of both."""
    other = schema.experiment_share.alias("other")
    both = sa.select(other.c.experiment_id).where(other.c.grantee == to)
    wider = sa.select(other.c.experiment_id).where(other.c.grantee == grantee, other.c.role == "write")
    connection.execute(
        sa.update(schema.experiment_share)
        .where(_share.grantee == to, _share.experiment_id.in_(wider))
        .values(role="write")
    )
    mine = _share.grantee == grantee
    dropped = connection.execute(schema.experiment_share.delete().where(mine, _share.experiment_id.in_(both))).rowcount
    return dropped + connection.execute(sa.update(schema.experiment_share).where(mine).values(grantee=to)).rowcount


def delete_webhooks(connection: Connection, owner: str) -> int:
    """Delete the webhooks of an owner, with what they were to be told; gives how many."""
    return connection.execute(schema_telling.webhook.delete().where(_hook.owner == owner)).rowcount


def move_webhooks(connection: Connection, owner: str, to: str) -> int:
    """Make the webhooks of an owner another's; gives how many."""
    return connection.execute(sa.update(schema_telling.webhook).where(_hook.owner == owner).values(owner=to)).rowcount


def drop_rules(connection: Connection, owner: str) -> None:
    """Forget the quota and the retention that were set for an owner."""
    connection.execute(owner_rule.delete().where(owner_rule.c.subject == owner))


def move_rules(connection: Connection, owner: str, to: str) -> None:
    """Have the quota and the retention that were set for an owner be another's, who keeps their own."""
    own = sa.select(owner_rule.c.kind).where(owner_rule.c.subject == to)
    kinds = set(connection.execute(own).scalars())
    moved = sa.update(owner_rule).where(owner_rule.c.subject == owner, owner_rule.c.kind.not_in(kinds))
    connection.execute(moved.values(subject=to))
    drop_rules(connection, owner)


def rename_doer(connection: Connection, user: str, to: str) -> None:
    """Have what a user did, and is not permanent, name them by another name."""
    for column in _DOERS:
        connection.execute(sa.update(column.table).where(column == user).values({column.name: to}))
    consumers.rename(connection, user, to)


def policies_naming(connection: Connection, owner: str) -> list[PolicyInForce]:
    """The policies in force that are an owner's, or let them approve."""
    newest = sa.func.max(_policy.number)
    last = sa.union_all(
        sa.select(newest).where(_policy.model_id.is_not(None)).group_by(_policy.model_id),
        sa.select(newest).where(_policy.owner.is_not(None)).group_by(_policy.owner),
    )
    query = sa.select(_policy.model_id, _policy.owner, _policy.policy_json).where(
        _policy.number.in_(last), _policy.policy_json.is_not(None)
    )
    found = [
        PolicyInForce(row[0], row[1], decoded(row[2])) for row in connection.execute(query.order_by(_policy.number))
    ]
    return [each for each in found if owner == each.owner or owner in each.policy.approvers]


def open_requests(connection: Connection) -> dict[str, str]:
    """The ids of the open requests for models that exist, each with its model's id."""
    query = sa.select(_promotion.id, _promotion.model_id).join(schema.model, _model.id == _promotion.model_id)
    open_ones = query.where(_promotion.state == PromotionState.OPEN.value).order_by(_promotion.id)
    return {row[0]: row[1] for row in connection.execute(open_ones)}
