"""Whom experiments are shared with, and what of the store somebody can reach: as conditions that indexes answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from jupyter_mlops.core.records import Role
from jupyter_mlops.store import schema
from jupyter_mlops.store.parameters import among
from jupyter_mlops.store.upsert import Upsert

_share = schema.experiment_share.c
_model = schema.model.c


class Reach(msgspec.Struct, frozen=True):
    """What a search may find: the things of ``owners``, the experiments shared with one of ``grantees``, and, of the
    registered models of others, those that are not restricted, if ``open_models``."""

    owners: tuple[str, ...]
    grantees: tuple[str, ...] = ()
    open_models: bool = False

    def experiments(self) -> dict[str, Any]:
        """The parameters of :func:`reached_experiment`."""
        return {"owners": self.owners, "grantees": self.grantees}

    def models(self) -> dict[str, Any]:
        """The parameters of :func:`reached_model`, by whose names it is chosen which models those are."""
        return {"own_or_open" if self.open_models else "own": self.owners}


class StoredShare(msgspec.Struct, frozen=True):
    """A row. ``grantee`` is a form of :mod:`jupyter_mlops.core.access`."""

    grantee: str
    role: Role
    created_by: str
    created: int


def _put(insert: Any) -> Any:
    share = insert(schema.experiment_share)
    changed = {name: share.excluded[name] for name in ("role", "created_by", "created")}
    return share.on_conflict_do_update(index_elements=["experiment_id", "grantee"], set_=changed)


_PUT = Upsert(_put)
_owned = schema.experiment.alias("owned").c
_ROLES = sa.select(_share.role).where(
    _share.experiment_id == sa.bindparam("experiment"), among(_share.grantee, "grantees")
)


def reached_experiment(column: ColumnElement[str], reach: Reach | None = None) -> ColumnElement[bool]:
    """The condition that ``column``, an experiment's id, is within ``reach``; when None, within that whose parameters
    are bound when the statement is executed."""
    owners, grantees = (None, None) if reach is None else (reach.owners, reach.grantees)
    # A union is answered from two indexes; for the same with OR, databases read the whole table.
    return column.in_(
        sa.union(
            sa.select(_owned.id).where(among(_owned.owner, "owners", owners)),
            sa.select(_share.experiment_id).where(among(_share.grantee, "grantees", grantees)),
        )
    )


def within(query: sa.Select[Any], column: ColumnElement[str], reach: Reach | None) -> sa.Select[Any]:
    """``query`` with the condition that ``column``, an experiment's id, is within ``reach`` (anywhere when None)."""
    return query if reach is None else query.where(reached_experiment(column, reach))


def reached_among(connection: Connection, experiment_ids: Sequence[str], reach: Reach | None) -> frozenset[str]:
    """Those of the experiments that exist and are within ``reach`` (anywhere when None)."""
    query = sa.select(schema.experiment.c.id).where(among(schema.experiment.c.id, "ids", experiment_ids))
    return frozenset(connection.execute(within(query, schema.experiment.c.id, reach)).scalars())


def reached_model(names: frozenset[str]) -> ColumnElement[bool]:
    """The condition that a registered model is within the reach whose parameters have ``names``."""
    if "own" in names:
        return among(_model.owner, "own")
    if "own_or_open" in names:
        return sa.or_(_model.restricted.is_(sa.false()), among(_model.owner, "own_or_open"))
    return sa.true()


def widest_role(connection: Connection, experiment_id: str, grantees: Sequence[str]) -> Role | None:
    """The most that the experiment's shares with ``grantees`` let do; None when there is none."""
    if not grantees:
        return None
    found = set(connection.execute(_ROLES, {"experiment": experiment_id, "grantees": grantees}).scalars())
    return next((role for role in (Role.WRITE, Role.READ) if role.value in found), None)


def put(connection: Connection, experiment_id: str, share: StoredShare) -> None:
    """Share the experiment, in place of what it was shared as with the same grantee."""
    row = {
        "experiment_id": experiment_id,
        "grantee": share.grantee,
        "role": share.role.value,
        "created_by": share.created_by,
        "created": share.created,
    }
    connection.execute(_PUT.on(connection), row)


def remove(connection: Connection, experiment_id: str, grantee: str) -> bool:
    """Take a share back; False when there is none."""
    which = (_share.experiment_id == experiment_id, _share.grantee == grantee)
    return connection.execute(schema.experiment_share.delete().where(*which)).rowcount > 0


def of_experiment(
    connection: Connection, experiment_id: str, grantees: Sequence[str] | None = None
) -> list[StoredShare]:
    """The shares of the experiment, by grantee; those with one of ``grantees`` when given."""
    query = sa.select(_share.grantee, _share.role, _share.created_by, _share.created).order_by(_share.grantee)
    query = query.where(_share.experiment_id == experiment_id)
    if grantees is not None:
        query = query.where(among(_share.grantee, "grantees", grantees))
    return [StoredShare(row[0], Role(row[1]), row[2], row[3]) for row in connection.execute(query)]
